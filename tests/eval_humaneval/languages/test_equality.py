"""Tests of the values that the hidden tests accept in Python, JavaScript, PHP and Ruby."""

import re
from pathlib import Path

import pytest

from eval_humaneval.languages import ADAPTERS
from eval_humaneval.problems.builtin import Case, Spec, Type, Value
from eval_humaneval.problems.problem import Problem
from tests.eval_humaneval.programs import failure, need_tools


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
    """Return a problem whose function has no parameters and must return `expected`."""
    render = ADAPTERS[language].render
    assert render is not None
    spec = Spec("answer", "Return it.", (), type_of(expected), (), (Case((), expected),))
    rendered = render(spec)
    # PHP converts a returned value to the declared type.
    prompt = re.sub(r"\(\): \??\w+", "()", rendered.prompt) if language == "php" else rendered.prompt
    return Problem("answer", "answer", language, prompt, rendered.stops, rendered.tail)


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
    need_tools(ADAPTERS[language])
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
    need_tools(ADAPTERS[language])
    problem = returning(language, expected)
    output = failure(problem, completion(language, expression), tmp_path)
    assert "instead of" in output
    assert "SyntaxError" not in output
