"""Tests of Java, C# and C++: prompts, literals, and results of right and wrong solutions.

The programs are our own and run without the sandbox.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from eval_humaneval.languages import cpp, csharp, java
from eval_humaneval.languages.base import LanguageAdapter
from eval_humaneval.problems.builtin import Case, Param, Spec, Type, Value, parse_type, solutions, specs
from eval_humaneval.problems.problem import VERDICT_MARK, Problem, program_of, truncate
from tests.eval_humaneval.programs import need_tools

LANGUAGES = {"java": java.JAVA, "csharp": csharp.CSHARP, "cpp": cpp.CPP}
SPECS = {spec.name: spec for spec in specs()}

AWKWARD = "tab\t, line\n, quote \", apostrophe ', \\u0041 \\ {0} ${a} %d ??/ */ \x01" + "7"

CODES = Spec(
    name="char_codes",
    text="Return the code of each character of `text`.",
    params=(Param("text", parse_type("str")),),
    returns=parse_type("list[int]"),
    examples=(),
    tests=(Case((AWKWARD,), [ord(char) for char in AWKWARD]), Case(("",), [])),
)
CHAR_CODES = {
    "java": "        return text.chars().boxed().collect(Collectors.toList());",
    "csharp": "        return text.Select(c => (int)c).ToList();",
    "cpp": "    return std::vector<int>(text.begin(), text.end());",
}

TRIPLED = Spec(
    name="tripled",
    text="Return three times `value` under `key`.",
    params=(Param("key", parse_type("str")), Param("value", parse_type("float"))),
    returns=parse_type("dict[str, list[float]]"),
    examples=(),
    tests=(Case(("k", 0.1), {"k": [0.3]}), Case(("", 1e20), {"": [3e20]})),
)
THREE_TIMES = {
    "java": "        return Map.of(key, List.of(3 * value));",
    "csharp": "        return new[] { key }.ToDictionary(k => k, k => new List<double> { 3 * value });",
    "cpp": "    return {{key, {3 * value}}};",
}


def outcome(adapter: LanguageAdapter, spec: Spec, completion: str, folder: Path) -> str:
    """Return "passed", "rejected" or the compiler's output; skip the test if a tool is missing."""
    need_tools(adapter)
    parts = adapter.render(spec) if adapter.render else pytest.fail("nothing is rendered")
    problem = Problem("id", spec.name, "", parts.prompt, parts.stops, parts.tail)
    source = program_of(problem, completion).source.replace(
        VERDICT_MARK, adapter.verdict.format("pas", "sed")
    )
    (folder / adapter.source_name).write_text(source, encoding="utf-8")
    compiled = subprocess.run(adapter.compile, cwd=folder, capture_output=True, text=True, timeout=60)
    if compiled.returncode != 0:
        return compiled.stdout + compiled.stderr
    ran = subprocess.run(adapter.run, cwd=folder, capture_output=True, text=True, timeout=60)
    passed = ran.returncode == 0 and ran.stdout.strip() == "passed"
    return "passed" if passed else "rejected"


@pytest.mark.parametrize(
    ("literal", "control"), [(java.literal, r"\001"), (csharp.literal, r"\u0001"), (cpp.literal, r"\001")]
)
def test_texts_are_escaped(literal: Callable[[Value, Type], str], control: str):
    assert literal('say "a\\b"', Type("str")) == r'"say \"a\\b\""'
    assert literal("\x017", Type("str")) == f'"{control}7"'


def test_values_of_java():
    values = parse_type("dict[str, list[float]]")
    assert java.type_name(values) == "Map<String, List<Double>>"
    assert java.literal({"a": [1.0, 2.5], "b": []}, values) == 'map("a", list(1.0, 2.5), "b", list())'
    assert java.type_name(parse_type("bool")) == "boolean"
    assert java.literal(True, parse_type("bool")) == "true"
    assert java.literal(None, parse_type("optional[int]")) == "Optional.empty()"
    assert java.literal(3, parse_type("optional[int]")) == "Optional.of(3)"


def test_values_of_csharp():
    values = parse_type("dict[str, list[float]]")
    assert csharp.literal({"a": [1.0]}, values) == (
        'new Dictionary<string, List<double>> { ["a"] = new List<double> { 1.0 } }'
    )
    assert csharp.literal([], parse_type("list[int]")) == "new List<int>()"
    assert csharp.literal({"a": [1.0], "b": []}, values, short=True) == 'new() { ["a"] = [1.0], ["b"] = [] }'
    assert csharp.type_name(parse_type("optional[int]")) == "int?"
    assert csharp.type_name(parse_type("optional[str]")) == "string"
    assert csharp.literal(None, parse_type("optional[int]")) == "null"


def test_values_of_cpp():
    values = parse_type("dict[str, list[float]]")
    assert cpp.parameter("values", values) == "const std::map<std::string, std::vector<double>>& values"
    assert cpp.parameter("count", parse_type("int")) == "int count"
    assert cpp.literal({"a": [1.0, 2.5], "b": []}, values) == '{{"a", {1.0, 2.5}}, {"b", {}}}'
    assert cpp.literal(None, parse_type("optional[int]")) == "std::nullopt"


def test_a_prompt_of_java():
    assert java.render(SPECS["parse_query"]).prompt == (
        """\
import java.util.*;
import java.util.function.*;
import java.util.stream.*;

class Solution {
    /**
     * Split a query such as a=1&amp;b=2 into names and values. A name without = has an empty
     * value; when a name is repeated, its last value counts. An empty query has no names.
     *
     * <pre>{@code
     * parseQuery("a=1&b=2") // Map.of("a", "1", "b", "2")
     * parseQuery("debug") // Map.of("debug", "")
     * }</pre>
     */
    public static Map<String, String> parseQuery(String query) {
"""
    )


def test_a_prompt_of_csharp():
    assert csharp.render(SPECS["to_base"]).prompt == (
        """\
using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Text.RegularExpressions;

public static class Solution
{
    /// <summary>
    /// Write <paramref name="number"/>, which is not negative, in base <paramref name="base"/>,
    /// from 2 to 16, with lower case letters for digits above 9.
    /// </summary>
    /// <example>
    /// <code>
    /// ToBase(10, 2) // "1010"
    /// ToBase(255, 16) // "ff"
    /// </code>
    /// </example>
    public static string ToBase(int number, int @base)
    {
"""
    )


def test_a_prompt_of_cpp():
    _, function = cpp.render(SPECS["second_largest"]).prompt.split("\n\n")
    assert function == (
        """\
/// Return the second largest of the distinct values, or nothing when there are fewer than
/// two distinct values.
///
/// second_largest({4, 9, 7}) == 7
/// second_largest({5, 5}) == std::nullopt
std::optional<int> second_largest(const std::vector<int>& values) {
"""
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_problem_is_solved_within_its_stops(language: str):
    solved = solutions(language)
    assert list(solved) == list(SPECS)
    for name, solution in solved.items():
        render = LANGUAGES[language].render
        assert render is not None
        parts = render(SPECS[name])
        assert parts.tail.count(VERDICT_MARK) == 1
        assert truncate(solution.canonical, parts.stops) == solution.canonical
        assert truncate(solution.wrong, parts.stops) == solution.wrong


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_arrive_as_they_are(language: str, tmp_path: Path):
    assert outcome(LANGUAGES[language], CODES, CHAR_CODES[language], tmp_path) == "passed"


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_may_be_a_rounding_error_off_and_no_more(language: str, tmp_path: Path):
    exact = THREE_TIMES[language]
    assert outcome(LANGUAGES[language], TRIPLED, exact, tmp_path) == "passed"
    near = exact.replace("3 * value", "3.00000001 * value")
    assert outcome(LANGUAGES[language], TRIPLED, near, tmp_path) == "rejected"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_follows_the_function_is_cut(language: str, tmp_path: Path):
    canonical = solutions(language)["second_largest"].canonical.rstrip("\n")
    closing = "\n}" if language == "cpp" else "\n    }\n}"
    answer = f"{canonical}{closing}\n\nand then some prose"
    assert outcome(LANGUAGES[language], SPECS["second_largest"], answer, tmp_path) == "passed"


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_canonicals_pass_and_wrong_solutions_are_rejected(language: str, name: str, tmp_path: Path):
    solution = solutions(language)[name]
    assert outcome(LANGUAGES[language], SPECS[name], solution.canonical, tmp_path) == "passed"
    assert outcome(LANGUAGES[language], SPECS[name], solution.wrong, tmp_path) == "rejected"
