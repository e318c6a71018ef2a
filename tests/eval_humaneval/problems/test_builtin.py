"""Tests of the built-in problems: their data, and their rendering in every language."""

import re

import pytest

from eval_humaneval.languages import ADAPTERS, builtin_problems
from eval_humaneval.problems.builtin import Spec, Type, Value, parse_type, solutions, specs
from eval_humaneval.problems.problem import VERDICT_MARK, Problem, truncate

RENDERED = [name for name, adapter in ADAPTERS.items() if adapter.render is not None]


def is_of(value: Value, declared: Type) -> bool:
    match declared, value:
        case Type("int"), int():
            return type(value) is int and -(2**31) <= value < 2**31
        case (Type("float"), float()) | (Type("bool"), bool()):
            return True
        case Type("str"), str():
            return value.isascii()
        case Type("optional", Type() as item), _:
            return value is None or is_of(value, item)
        case Type("list", Type() as item), [*items]:
            return all(is_of(each, item) for each in items)
        case Type("dict", Type() as item), {**entries}:
            return all(key.isascii() and is_of(each, item) for key, each in entries.items())
        case _:
            return False


def test_types_are_read_from_text():
    assert parse_type("dict[str, list[int]]") == Type("dict", Type("list", Type("int")))
    assert parse_type("optional[float]") == Type("optional", Type("float"))


@pytest.mark.parametrize("text", ["", "integer", "list", "list[]", "dict[int, str]", "dict[str]", "list[int"])
def test_a_malformed_type_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a type"):
        parse_type(text)


def test_there_are_at_least_40_problems():
    assert len(specs()) >= 40


@pytest.mark.parametrize("spec", specs(), ids=lambda spec: spec.name)
def test_values_have_the_declared_types(spec: Spec):
    names = [param.name for param in spec.params]
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in [spec.name, *names])
    assert set(re.findall(r"`(\w+)`", spec.text)) <= set(names)
    assert spec.text.isascii()
    assert len(spec.tests) > len(spec.examples) == 2
    for case in spec.tests:
        for value, param in zip(case.arguments, spec.params, strict=True):
            assert is_of(value, param.type), f"{value!r} is not {param.type}"
        assert is_of(case.returns, spec.returns), f"{case.returns!r} is not {spec.returns}"
    arguments = [repr(case.arguments) for case in spec.tests]
    assert len(set(arguments)) == len(arguments)


@pytest.mark.parametrize("language", RENDERED)
def test_every_solution_is_of_a_problem_and_every_pair_differs(language: str):
    found = solutions(language)
    assert set(found) <= {spec.name for spec in specs()}
    assert len(found) >= 40
    assert all(solution.canonical != solution.wrong for solution in found.values())


def test_typescript_shares_javascripts_solutions():
    shared, own = solutions("javascript"), solutions("typescript")
    assert set(shared) == set(own)
    assert own["chunk"] == shared["chunk"]
    assert "Record<string, number>" in own["word_counts"].canonical


@pytest.mark.parametrize("language", RENDERED)
def test_problems_of_a_language_are_the_same_clusters_under_other_names(language: str):
    problems = builtin_problems(language)
    assert [problem.cluster for problem in problems] == [
        spec.name for spec in specs() if spec.name in solutions(language)
    ]
    assert all(problem.id == f"builtin/{language}/{problem.cluster}" for problem in problems)


@pytest.mark.parametrize(
    "problem",
    [problem for language in RENDERED for problem in builtin_problems(language)],
    ids=lambda problem: problem.id,
)
def test_stops_leave_solutions_whole_and_the_verdict_stands_last_in_the_hidden_tests(problem: Problem):
    assert problem.canonical is not None
    assert problem.wrong is not None
    for completion in (problem.canonical, problem.wrong):
        assert truncate(completion, problem.stops) == completion
    visible = f"{problem.head}{problem.prompt}"
    assert VERDICT_MARK not in visible
    assert problem.tail.count(VERDICT_MARK) == 1
    assert problem.prompt.isascii()
    assert problem.prompt.endswith("\n")
    assert max(map(len, problem.prompt.splitlines())) <= 150
