"""Python, JavaScript, TypeScript, PHP and Ruby: prompts, literals, what the tests accept, all solutions."""

import json
import re
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
    assert rendered.head + rendered.prompt == PROMPTS[language]
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


# Literals: what a program of the language says they are.

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
    need_tools(ADAPTERS[language].toolchain)
    literal, name, program = PRINTERS[language]
    wanted = [*AWKWARD, *values]
    (tmp_path / name).write_text(program.format(literal(wanted)), encoding="ascii", newline="")
    toolchain = ADAPTERS[language].toolchain
    ran = subprocess.run(toolchain.run, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    # JavaScript writes large floats as whole numbers.
    got = json.loads(ran.stdout, parse_int=float)
    assert len(got) == len(wanted)
    assert [pair for pair in zip(got, wanted, strict=True) if pair[0] != pair[1]] == []


def test_keys_that_are_no_names_are_quoted_in_javascript():
    assert javascript.literal({"a": 1, "b c": 2.0, "1": {}}) == '{ a: 1, "b c": 2, "1": {} }'


# What the hidden tests accept.


def type_of(value: Value) -> Type:
    match value:
        case [item, *_]:
            return Type("list", type_of(item))
        case dict():
            return Type("dict", Type("int"))
        case None:
            return Type("optional", Type("int"))
        case _:
            return Type(type(value).__name__)


def returning(language: str, expected: Value) -> Problem:
    """A problem whose function has no parameters and shall return `expected`."""
    render = ADAPTERS[language].render
    assert render is not None
    spec = Spec("answer", "Return it.", (), type_of(expected), (), (Case((), expected),))
    rendered = render(spec)
    # PHP converts what is returned to the declared type.
    prompt = re.sub(r"\(\): \??\w+", "()", rendered.prompt) if language == "php" else rendered.prompt
    return Problem("answer", "answer", language, prompt, rendered.stops, rendered.tail, rendered.head)


def completion(language: str, expression: str) -> str:
    return f"    return {expression}{';' if language == 'php' else ''}\n"


@pytest.mark.parametrize(
    ("language", "expected", "expression"),
    [
        ("python", {"b": [1], "a": [2]}, "{'a': [2], 'b': [1]}"),
        ("python", {"a": 2}, "__import__('collections').Counter('aa')"),
        ("python", 0.3, "0.1 + 0.2"),
        ("python", 0.0, "1e-12"),
        ("python", 1.0, "1"),
        ("javascript", {"b": [1], "a": [2]}, "({ a: [2], b: [1] })"),
        ("javascript", {"a": 2}, "Object.assign(Object.create(null), { a: 2 })"),
        ("javascript", 0.3, "0.1 + 0.2"),
        ("php", {"b": [1], "a": [2]}, "['a' => [2], 'b' => [1]]"),
        ("php", 0.3, "0.1 + 0.2"),
        ("ruby", {"b": [1], "a": [2]}, "{ 'a' => [2], 'b' => [1] }"),
        ("ruby", {"a": 2}, "Hash.new(0).merge('a' => 2)"),
        ("ruby", 0.3, "0.1 + 0.2"),
        ("ruby", 1.0, "1"),
    ],
)
def test_equal_values_pass(language: str, expected: Value, expression: str, tmp_path: Path):
    need_tools(ADAPTERS[language].toolchain)
    problem = returning(language, expected)
    assert failure(problem, completion(language, expression), tmp_path) == ""


EQUAL_TO_ALL = {
    "python": "type('E', (), {'__eq__': lambda *_: True, '__class__': property(lambda _: int)})()",
    "python dict": "type('E', (dict,), {'__eq__': lambda *_: True, 'keys': lambda _: {'a': 1}.keys()})()",
    "javascript": "({ valueOf: () => 1, toString: () => '1', length: 1, 0: 1 })",
    "ruby": "Class.new { def ==(_) = true; def class = Integer; def method_missing(*) = true }.new",
}


@pytest.mark.parametrize(
    ("language", "expected", "expression"),
    [
        ("python", 1, "True"),
        ("python", 1, "1.0"),
        ("python", 1, "'1'"),
        ("python", 1.0, "float('nan')"),
        ("python", 1.0, "1.00001"),
        ("python", [1], "(1,)"),
        ("python", [1, 2], "[1]"),
        ("python", None, "0"),
        ("python", {"a": 1}, "{'a': 1, 'b': 2}"),
        ("python", 1, EQUAL_TO_ALL["python"]),
        ("python", {"a": 1}, EQUAL_TO_ALL["python dict"]),
        ("javascript", 1, "'1'"),
        ("javascript", 1, "true"),
        ("javascript", 1.5, "NaN"),
        ("javascript", None, "undefined"),
        ("javascript", [1], "({ 0: 1, length: 1 })"),
        ("javascript", [1], "'1'"),
        ("javascript", [1, 2], "[1]"),
        ("javascript", {}, "new Map([['a', 1]])"),
        ("javascript", {}, "[]"),
        ("javascript", {"a": 1}, "({ a: 1, b: 2 })"),
        ("javascript", {"a": 1}, "undefined"),
        ("javascript", 1, EQUAL_TO_ALL["javascript"]),
        ("javascript", [1], EQUAL_TO_ALL["javascript"]),
        ("php", 1, "'1'"),
        ("php", 1, "true"),
        ("php", 1.0, "1"),
        ("php", 1.0, "NAN"),
        ("php", None, "false"),
        ("php", [1, 2], "[1 => 2, 0 => 1]"),
        ("php", [1], "[1 => 1]"),
        ("php", [1], "new ArrayObject([1])"),
        ("php", {"a": 1}, "['a' => '1']"),
        ("php", {"a": 1}, "['a' => 1, 'b' => 2]"),
        ("ruby", 1, "1.0"),
        ("ruby", 1.0, "Float::NAN"),
        ("ruby", "a", ":a"),
        ("ruby", None, "false"),
        ("ruby", [1, 2], "[1]"),
        ("ruby", [1], "[1].each"),
        ("ruby", {"a": 1}, "{ a: 1 }"),
        ("ruby", {"a": 1}, "{ 'a' => 1, 'b' => 2 }"),
        ("ruby", 1, EQUAL_TO_ALL["ruby"]),
        ("ruby", [1], EQUAL_TO_ALL["ruby"]),
    ],
)
def test_what_only_resembles_the_value_fails(language: str, expected: Value, expression: str, tmp_path: Path):
    need_tools(ADAPTERS[language].toolchain)
    problem = returning(language, expected)
    said = failure(problem, completion(language, expression), tmp_path)
    assert "instead of" in said
    assert "SyntaxError" not in said


RUNS_ON = {
    "python": "\n\ndef main():\n    unknown(",
    "javascript": "}\n\nconsole.log(unknown(",
    "typescript": "}\n\nconsole.log(unknown(",
    "php": "}\n\necho unknown(",
    "ruby": "end\n\nputs unknown(",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_model_writes_after_the_function_is_cut(language: str, tmp_path: Path):
    need_tools(ADAPTERS[language].toolchain)
    problem = builtin_problems(language)[0]
    assert failure(problem, f"{problem.canonical}{RUNS_ON[language]}", tmp_path) == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_leaving_early_is_no_pass(language: str, tmp_path: Path):
    need_tools(ADAPTERS[language].toolchain)
    leave = {"python": "    raise SystemExit\n", "php": "    exit(0);\n", "ruby": "  exit!(0)\n"}
    problem = builtin_problems(language)[0]
    said = failure(problem, leave.get(language, "  process.exit(0);\n"), tmp_path)
    assert said == "the verdict is missing"


# Every solution of every problem.


def check(problem: Problem, folder: Path) -> None:
    need_tools(ADAPTERS[problem.language].toolchain)
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
