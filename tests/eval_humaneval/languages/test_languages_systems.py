"""Tests of Go, Rust and Bash: prompts, literals, and solutions judged in the sandbox."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from eval_humaneval.execution.judge import Judge, Judgement
from eval_humaneval.execution.sandbox import SYSTEM_PATH, Sandbox
from eval_humaneval.execution.toolchains import find_toolchains
from eval_humaneval.languages import bash, builtin_problems, go, rust
from eval_humaneval.languages.naming import octal_literal
from eval_humaneval.problems.builtin import Case, Param, Spec, Type, parse_type, specs
from eval_humaneval.problems.problem import Problem, program_of
from tests.eval_humaneval.programs import need_sandbox, need_tools

LANGUAGES = {"go": go.GO, "rust": rust.RUST, "bash": bash.BASH}
SPECS = {spec.name: spec for spec in specs()}
PROBLEMS = {problem.id: problem for language in LANGUAGES for problem in builtin_problems(language)}
SAMPLE = [
    f"builtin/{language}/{name}" for language in LANGUAGES for name in ("is_balanced", "second_largest")
]

AWKWARD = "tab\t, line\n, quote \", apostrophe ', $'x' \\u0041 \\ {0} ${a} $(b) `c` %d \x01" + "7"

ECHO = Spec(
    name="same_text",
    text="Return `text`.",
    params=(Param("text", Type("str")),),
    returns=Type("str"),
    examples=(),
    tests=(Case((AWKWARD,), AWKWARD), Case(("",), ""), Case(("-n",), "-n")),
)
SAME_TEXT = {
    "go": "\treturn text\n",
    "rust": "    text.to_string()\n",
    "bash": "    printf '%s' \"$text\"\n",
}

TRIPLED = Spec(
    name="tripled",
    text="Return three times `value` under `key`.",
    params=(Param("key", Type("str")), Param("value", Type("float"))),
    returns=parse_type("dict[str, list[float]]"),
    examples=(),
    tests=(Case(("k", 0.1), {"k": [0.3]}), Case(("", 1e20), {"": [3e20]})),
)
THREE_TIMES = {
    "go": "\treturn map[string][]float64{key: {3 * value}}\n",
    "rust": "    HashMap::from([(key.to_string(), vec![3.0 * value])])\n",
}

JudgeCompletion = Callable[[Problem, str], Judgement]


@pytest.fixture(scope="module")
def judge_completion() -> Iterator[JudgeCompletion]:
    """Return a function that judges a completion; it skips the test without a sandbox or a toolchain."""
    with Sandbox(need_sandbox(go.GO, rust.RUST)) as sandbox:
        judge = Judge(sandbox)
        found = find_toolchains(LANGUAGES, sandbox)

        def judged(problem: Problem, completion: str) -> Judgement:
            need_tools(LANGUAGES[problem.language], path=SYSTEM_PATH)
            assert problem.language in found.ready, found.missing
            return judge.judge(program_of(problem, completion), found.ready[problem.language])

        yield judged


def problem_of(language: str, spec: Spec) -> Problem:
    render = LANGUAGES[language].render
    assert render is not None
    parts = render(spec)
    return Problem("id", spec.name, language, parts.prompt, parts.stops, parts.tail)


def test_texts_are_escaped():
    assert octal_literal('say "a\\b"\x017') == r'"say \"a\\b\"\0017"'
    assert rust.text_literal('say "a\\b"\x017') == r'"say \"a\\b\"\x017"'
    assert bash.text_literal("it's $x\\n") == r"'it'\''s $x\n'"
    assert bash.text_literal("it's\n\\7") == r"$'it\'s\012\\7'"


def test_values_of_go():
    values = parse_type("dict[str, list[float]]")
    assert go.type_name(values) == "map[string][]float64"
    assert go.literal({"a": [1.0, 2.5], "b": []}, values) == 'map[string][]float64{"a": {1.0, 2.5}, "b": {}}'
    assert go.literal([], parse_type("list[list[int]]")) == "[][]int{}"
    assert go.literal(True, Type("bool")) == "true"
    assert go.result_type(parse_type("optional[str]")) == "(string, bool)"
    assert go.returned(None, parse_type("optional[str]")) == '"", false'
    assert go.returned(3, parse_type("optional[int]")) == "3, true"


def test_values_of_rust():
    names = parse_type("dict[str, list[str]]")
    assert rust.argument_type(names) == "&HashMap<String, Vec<String>>"
    assert rust.argument({"a": ["x"]}, names) == '&HashMap::from([("a".into(), vec!["x".into()])])'
    assert rust.argument_type(parse_type("list[str]")) == "&[&str]"
    assert rust.argument(["x"], parse_type("list[str]")) == '&["x"]'
    assert rust.argument_type(parse_type("list[list[int]]")) == "&[Vec<i32>]"
    assert rust.argument([[1], []], parse_type("list[list[int]]")) == "&[vec![1], vec![]]"
    assert rust.owned(None, parse_type("optional[float]")) == "None"
    assert rust.owned(2.0, parse_type("optional[float]")) == "Some(2.0)"
    assert rust.owned({}, names) == "HashMap::new()"


def test_bash_takes_a_list_last():
    spec = SPECS["rotate_left"]
    assert bash.declaration(spec) == 'local steps="$1" values=("${@:2}")'
    assert bash.call(spec, spec.examples[0]) == "rotate_left 1 1 2 3 4"
    assert bash.printed([1, 2], parse_type("list[int]")) == "1\n2"
    assert bash.printed(False, Type("bool")) == "1"
    assert bash.printed(None, parse_type("optional[int]")) == ""


def test_a_prompt_of_go():
    _, function = go.render(SPECS["fewest_coins"]).prompt.split(")\n\n", 1)
    assert function == (
        """\
// fewestCoins returns the smallest number of coins that make up amount, or nothing when
// that is impossible. Each of coins is positive and can be used any number of times. The
// second result is false when there is nothing.
//
//	fewestCoins([]int{1, 2, 5}, 11) // 3, true
//	fewestCoins([]int{2}, 3) // 0, false
func fewestCoins(coins []int, amount int) (int, bool) {
"""
    )
    assert go.signature(SPECS["clamp"]) == "func clamp(value, low, high int) int"


def test_a_prompt_of_rust():
    assert rust.render(SPECS["wrap_words"]).prompt == (
        """\
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// Break `text` into lines of at most `width` characters, without splitting words: each
/// line takes as many words as fit, with one space between them. No word is longer than
/// `width`.
///
/// ```
/// assert_eq!(wrap_words("the quick brown fox", 10), vec!["the quick", "brown fox"]);
/// assert_eq!(wrap_words("one", 5), vec!["one"]);
/// ```
fn wrap_words(text: &str, width: i32) -> Vec<String> {
"""
    )


def test_a_prompt_of_bash():
    assert bash.render(SPECS["is_leap_year"]).prompt == (
        """\
#!/usr/bin/env bash

# Tell whether $year is a leap year: divisible by 4, but not by 100 unless also by 400.
# The exit status is 0 if so, and 1 if not.
#
# Example:
#   $ is_leap_year 2024; echo $?
#   0
#   $ is_leap_year 1900; echo $?
#   1
is_leap_year() {
    local year="$1"
"""
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_arrive_as_they_are(language: str, judge_completion: JudgeCompletion):
    judgement = judge_completion(problem_of(language, ECHO), SAME_TEXT[language])
    assert judgement.outcome == "passed", judgement.detail


@pytest.mark.parametrize("language", THREE_TIMES)
def test_numbers_may_be_a_rounding_error_off_and_no_more(language: str, judge_completion: JudgeCompletion):
    problem, exact = problem_of(language, TRIPLED), THREE_TIMES[language]
    assert judge_completion(problem, exact).outcome == "passed"
    near = exact.replace("3 * value", "3.00000001 * value").replace("3.0 * value", "3.00000001 * value")
    assert judge_completion(problem, near).outcome == "failed"


def test_a_map_of_go_may_lack_no_key_of_a_zero_value(judge_completion: JudgeCompletion):
    spec = replace(TRIPLED, returns=parse_type("dict[str, int]"), tests=(Case(("k", 0.1), {"k": 0}),))
    problem = problem_of("go", spec)
    assert judge_completion(problem, '\treturn map[string]int{"k": 0}\n').outcome == "passed"
    assert judge_completion(problem, '\treturn map[string]int{"l": 0}\n').outcome == "failed"


def test_a_function_of_bash_sees_nothing_of_its_tests(judge_completion: JudgeCompletion):
    problem = problem_of("bash", SPECS["clamp"])
    assert judge_completion(problem, '    echo "$expected$got$_got"\n').outcome == "failed"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_follows_the_function_is_cut(language: str, judge_completion: JudgeCompletion):
    problem = PROBLEMS[f"builtin/{language}/second_largest"]
    assert problem.canonical is not None
    answer = problem.canonical.rstrip("\n") + "\n}\n\nand then ( some prose"
    assert judge_completion(problem, answer).outcome == "passed"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_compile_error_is_an_outcome_of_its_own(language: str, judge_completion: JudgeCompletion):
    assert judge_completion(PROBLEMS[f"builtin/{language}/clamp"], "    if ((\n").outcome == "compile_error"


@pytest.mark.parametrize("name", SAMPLE)
def test_a_canonical_passes_and_a_wrong_solution_is_rejected(name: str, judge_completion: JudgeCompletion):
    check_solutions(PROBLEMS[name], judge_completion)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PROBLEMS if name not in SAMPLE])
def test_all_canonicals_pass_and_all_wrong_solutions_are_rejected(
    name: str, judge_completion: JudgeCompletion
):
    check_solutions(PROBLEMS[name], judge_completion)


def check_solutions(problem: Problem, judge_completion: JudgeCompletion) -> None:
    assert problem.canonical is not None
    assert problem.wrong is not None
    right = judge_completion(problem, problem.canonical)
    assert right.outcome == "passed", right.detail
    assert judge_completion(problem, problem.wrong).outcome == "failed"
