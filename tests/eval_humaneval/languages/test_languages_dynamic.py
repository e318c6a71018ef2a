"""Tests of Python, JavaScript, TypeScript, PHP and Ruby: prompts, literals, and all solutions."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from eval_humaneval.languages import ADAPTERS, builtin_problems, javascript, php, ruby
from eval_humaneval.problems.builtin import Case, Param, Spec, Type, Value, parse_type
from eval_humaneval.problems.problem import Problem
from tests.eval_humaneval.programs import failure, need_tools

LANGUAGES = ["python", "javascript", "typescript", "php", "ruby"]

SAMPLE = {"invert_map", "moving_average", "second_largest", "snake_to_camel", "wrap_words"}

SPEC = Spec(
    name="nearest_price",
    text="Return the price in `price_list` that is nearest to what `full_name` may spend, or nothing when "
    "there is none.",
    params=(Param("price_list", parse_type("list[float]")), Param("full_name", Type("str"))),
    returns=parse_type("optional[float]"),
    examples=(Case(([1.0, 2.5], "Ada"), 2.5), Case(([], "$x #{y}"), None)),
    tests=(Case(([1.0, 2.5], "Ada"), 2.5), Case(([], "$x #{y}"), None), Case(([3.0], "hidden"), 3.0)),
)

PROMPTS = {
    "python": '''\
def nearest_price(price_list: list[float], full_name: str) -> float | None:
    """Return the price in `price_list` that is nearest to what `full_name` may spend, or
    nothing when there is none.

    >>> nearest_price([1.0, 2.5], 'Ada')
    2.5
    >>> nearest_price([], '$x #{y}')
    None
    """
''',
    "javascript": """\
/**
 * Return the price in `priceList` that is nearest to what `fullName` may spend, or nothing
 * when there is none.
 *
 * @param {number[]} priceList
 * @param {string} fullName
 * @returns {number | null}
 *
 * @example
 * nearestPrice([1, 2.5], "Ada"); // 2.5
 * nearestPrice([], "$x #{y}"); // null
 */
function nearestPrice(priceList, fullName) {
""",
    "typescript": """\
/**
 * Return the price in `priceList` that is nearest to what `fullName` may spend, or nothing
 * when there is none.
 *
 * @example
 * nearestPrice([1, 2.5], "Ada"); // 2.5
 * nearestPrice([], "$x #{y}"); // null
 */
function nearestPrice(priceList: number[], fullName: string): number | null {
""",
    "php": """\
<?php

/**
 * Return the price in `$priceList` that is nearest to what `$fullName` may spend, or
 * nothing when there is none.
 *
 *     nearestPrice([1.0, 2.5], 'Ada'); // 2.5
 *     nearestPrice([], '$x #{y}'); // null
 *
 * @param float[] $priceList
 * @param string $fullName
 * @return float|null
 */
function nearestPrice(array $priceList, string $fullName): ?float
{
""",
    "ruby": """\
# Return the price in `price_list` that is nearest to what `full_name` may spend, or
# nothing when there is none.
#
# @param price_list [Array<Float>]
# @param full_name [String]
# @return [Float, nil]
#
# @example
#   nearest_price([1.0, 2.5], "Ada") # => 2.5
#   nearest_price([], "$x \\#{y}") # => nil
def nearest_price(price_list, full_name)
""",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_prompt_looks_like_code_of_its_language_and_hides_the_tests(language: str):
    render = ADAPTERS[language].render
    assert render is not None
    rendered = render(SPEC)
    assert rendered.prompt == PROMPTS[language]
    assert "hidden" in rendered.tail


@pytest.mark.parametrize(
    ("text", "in_javascript", "in_php_doc", "in_ruby"),
    [
        ("bool", "boolean", "bool", "Boolean"),
        ("list[list[int]]", "number[][]", "int[][]", "Array<Array<Integer>>"),
        ("dict[str, str]", "Record<string, string>", "array<string, string>", "Hash{String => String}"),
        ("list[optional[int]]", "(number | null)[]", "(int|null)[]", "Array<Integer, nil>"),
    ],
)
def test_types_as_doc_comments_name_them(text: str, in_javascript: str, in_php_doc: str, in_ruby: str):
    declared = parse_type(text)
    assert javascript.type_name(declared) == in_javascript
    assert php.doc_type(declared) == in_php_doc
    assert ruby.type_name(declared) == in_ruby


# Literals: a program of the language prints them as JSON.

AWKWARD = [
    "$x",
    "${x}",
    "#{x}",
    "#$x #@x",
    "`",
    "'",
    '"',
    "\\",
    "\\'",
    "\\n",
    "?>",
    "*/",
    "%d",
    "\0",
    "\r\n",
    "\x7f",
]
KEYS = st.from_regex(r"[a-z][ -~]{0,5}", fullmatch=True) | st.sampled_from(["class", "a b", "it's", "x#{y}"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(AWKWARD)
    | st.text(st.characters(codec="ascii")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, min_size=1, max_size=3),
    max_leaves=5,
)

PRINTERS: dict[str, tuple[Callable[[Value], str], str, str]] = {
    "python": (repr, "main.py", "import json\nprint(json.dumps({}))\n"),
    "javascript": (javascript.literal, "main.js", "console.log(JSON.stringify({}));\n"),
    "php": (php.literal, "main.php", "<?php echo json_encode({});\n"),
    "ruby": (ruby.literal, "main.rb", "require 'json'\nputs JSON.generate({})\n"),
}


@pytest.mark.parametrize("language", PRINTERS)
@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(values=st.lists(VALUES, min_size=20, max_size=30))
def test_a_literal_is_the_value(language: str, values: list[Value], tmp_path: Path):
    need_tools(ADAPTERS[language])
    literal, name, program = PRINTERS[language]
    wanted = [*AWKWARD, *values]
    (tmp_path / name).write_text(program.format(literal(wanted)), encoding="ascii", newline="")
    toolchain = ADAPTERS[language]
    ran = subprocess.run(toolchain.run, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    # JavaScript writes large floats as whole numbers.
    got = json.loads(ran.stdout, parse_int=float)
    assert len(got) == len(wanted)
    assert [pair for pair in zip(got, wanted, strict=True) if pair[0] != pair[1]] == []


def test_keys_that_are_not_names_are_quoted_in_javascript():
    assert javascript.literal({"a": 1, "b c": 2.0, "1": {}}) == '{ a: 1, "b c": 2, "1": {} }'


RUNS_ON = {
    "python": "\n\ndef main():\n    unknown(",
    "javascript": "}\n\nconsole.log(unknown(",
    "typescript": "}\n\nconsole.log(unknown(",
    "php": "}\n\necho unknown(",
    "ruby": "end\n\nputs unknown(",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_after_the_function_is_cut(language: str, tmp_path: Path):
    need_tools(ADAPTERS[language])
    problem = builtin_problems(language)[0]
    assert failure(problem, f"{problem.canonical}{RUNS_ON[language]}", tmp_path) == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_that_exits_early_does_not_pass(language: str, tmp_path: Path):
    need_tools(ADAPTERS[language])
    leave = {"python": "    raise SystemExit\n", "php": "    exit(0);\n", "ruby": "  exit!(0)\n"}
    problem = builtin_problems(language)[0]
    output = failure(problem, leave.get(language, "  process.exit(0);\n"), tmp_path)
    assert output == "the verdict is missing"


# Every solution of every problem.


def check(problem: Problem, folder: Path) -> None:
    need_tools(ADAPTERS[problem.language])
    assert problem.canonical is not None
    assert problem.wrong is not None
    assert failure(problem, problem.canonical, folder) == ""
    assert failure(problem, problem.wrong, folder) != ""


def problems(chosen: Callable[[str], bool]) -> list[Problem]:
    return [problem for name in LANGUAGES for problem in builtin_problems(name) if chosen(problem.cluster)]


@pytest.mark.parametrize("problem", problems(SAMPLE.__contains__), ids=lambda problem: problem.id)
def test_the_canonical_passes_and_the_wrong_fails(problem: Problem, tmp_path: Path):
    check(problem, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("problem", problems(lambda name: name not in SAMPLE), ids=lambda problem: problem.id)
def test_all_others(problem: Problem, tmp_path: Path):
    check(problem, tmp_path)
