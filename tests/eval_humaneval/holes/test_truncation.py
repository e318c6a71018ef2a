"""Tests of where a hole's completion ends, in every style of language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acepilot.languages import LANGUAGES
from eval_humaneval.holes.hole import Hole, Kind
from eval_humaneval.holes.score import extract_answer, find_end, stops_for
from eval_humaneval.problems.problem import Problem


def hole(kind: Kind, language: str, prompt: str, suffix: str) -> Hole:
    stops = stops_for(kind, suffix, LANGUAGES[language])
    problem = Problem("h", "f", language, prompt, stops, tail="", suffix=suffix, canonical="x")
    return Hole(problem, kind, "", language, 0, 0, "", "")


LINE = hole("line", "python", "def f(x):\n    ", "\n    return y\n")
ARGUMENT = hole("expression", "javascript", "const a = go(", ", 2)\n")
CONDITION = hole("expression", "go", "\tif ", " {\n\t\treturn\n\t}\n")
TO_THE_END = hole("expression", "python", "    total = ", "\n    return total\n")
DIRECTIVE = hole("expression", "typescript", '<p v-if="', '">{{ a }}</p>\n')
INTERPOLATION = hole("expression", "typescript", "<p>{{ ", " }}</p>\n")
BRACES = hole("block", "javascript", "function f(a) {\n  ", "\n}\n\nf(1)\n")
INDENT = hole("block", "python", "def f(a):\n    ", "\n\n\nx = 1\n")
KEYWORD = hole("block", "ruby", "def f(a)\n  ", "\nend\n")
TAGS = hole("block", "vue", "<template>\n  <ul>\n    ", "\n  </ul>\n</template>\n")
STYLE = hole("block", "css", ".a {\n  ", "\n}\n.b { color: red; }\n")


@pytest.mark.parametrize(
    ("where", "completion", "answer"),
    [
        (LINE, "y = x + 1\n    z = 2", "y = x + 1"),
        (LINE, "  y = x + 1  ", "y = x + 1"),
        (LINE, "\ny = 1", ""),
        (ARGUMENT, "b.c", "b.c"),
        (ARGUMENT, "b.c, 2)\nmore", "b.c"),
        (ARGUMENT, "f(b, c), 3)", "f(b, c)"),
        (ARGUMENT, "',', 2)", "','"),
        (ARGUMENT, "b)\n", "b"),
        (CONDITION, "x > 0 {\n\t\tpanic(x)", "x > 0"),
        (CONDITION, "f(T{1}) {", "f(T{1})"),
        (TO_THE_END, "a + b\n    print(a)", "a + b"),
        (TO_THE_END, " a + b", "a + b"),
        (DIRECTIVE, 'a === \'b\'" class="c">', "a === 'b'"),
        (INTERPOLATION, "{ a: 1 }.a }}</p>", "{ a: 1 }.a"),
        (BRACES, "if (a) {\n    b()\n  }\n  c()\n}\n\nfunction g() {}", "if (a) {\n    b()\n  }\n  c()"),
        (BRACES, "return `}`\n}", "return `}`"),
        (BRACES, "return 1 }", "return 1"),
        (INDENT, "if a:\n        b()\n    return a\n\n\ndef g():", "if a:\n        b()\n    return a"),
        (INDENT, 't = """\nleft\n"""\n    return t\nx', 't = """\nleft\n"""\n    return t'),
        (INDENT, "return (\n  a\n)\ny = 2", "return (\n  a\n)"),
        (KEYWORD, "if a\n    b\n  end\nend\n", "if a\n    b\n  end"),
        (TAGS, "<li>a :)</li>\n    <li>b</li>\n  </ul>\n</template>", "<li>a :)</li>\n    <li>b</li>"),
        (STYLE, "color: red;\n}\n.c {", "color: red;"),
    ],
)
def test_an_answer_ends_where_the_hole_does(where: Hole, completion: str, answer: str) -> None:
    assert extract_answer(where, completion) == answer
    assert extract_answer(where, answer) == answer


def test_a_block_stops_at_the_line_below_it_for_engines_that_know_strings_only() -> None:
    assert BRACES.problem.stops[0] == "\n}"
    assert KEYWORD.problem.stops[0] == "\nend"
    assert TAGS.problem.stops[0] == "\n  </ul>"
    assert INDENT.problem.stops[0] == "\nx"


@given(
    where=st.sampled_from(
        [LINE, ARGUMENT, CONDITION, TO_THE_END, INTERPOLATION, BRACES, INDENT, KEYWORD, TAGS, STYLE]
    ),
    pieces=st.lists(
        st.sampled_from(
            ["a", " ", "\n", "    ", "(", ")", "{", "}", ", ", "'x'", "f(1)", "<li>", "</li>", "end", "1"]
        )
    ),
)
def test_more_text_never_moves_an_end(where: Hole, pieces: list[str]) -> None:
    first: int | None = None
    for count in range(len(pieces) + 1):
        end = find_end(where, "".join(pieces[:count]))
        assert first is None or end == first
        first = end
