"""Load the problem sets that a user names with --problems."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from acepilot.errors import ConfigError
from eval_humaneval import formats
from eval_humaneval.languages import ADAPTERS, builtin_problems
from eval_humaneval.problems import vue_problems
from eval_humaneval.problems.problem import Problem


@dataclass(frozen=True)
class ProblemSet:
    """`skipped` counts the records in languages that the evaluation does not run."""

    problems: tuple[Problem, ...]
    skipped: dict[str, int]


def load(sources: Sequence[str], languages: Sequence[str] = ()) -> ProblemSet:
    """Load the problems of all `sources` in `languages`; an empty list means all. Raise ConfigError."""
    unknown = [name for name in languages if name not in ADAPTERS]
    if unknown:
        raise ConfigError(f"No such language: {', '.join(unknown)}. Choose from {', '.join(ADAPTERS)}.")
    problems: list[Problem] = []
    skipped: dict[str, int] = {}
    for source in sources:
        if source == "builtin":
            for language in ADAPTERS:
                problems.extend(builtin_problems(language))
            problems.extend(vue_problems.problems())
            continue
        loaded = formats.load(source)
        problems.extend(loaded.problems)
        for language, count in loaded.skipped.items():
            skipped[language] = skipped.get(language, 0) + count
    chosen = tuple(problem for problem in problems if not languages or problem.language in languages)
    if not chosen:
        raise ConfigError(f"{', '.join(sources)} has no problem in {', '.join(languages) or 'any language'}.")
    seen: set[str] = set()
    for problem in chosen:
        if problem.id in seen:
            raise ConfigError(f"The problem {problem.id} occurs twice: name each set once.")
        seen.add(problem.id)
    return ProblemSet(chosen, skipped)


def hash_of(problems: Sequence[Problem]) -> str:
    """Hash all that a model sees and is judged by, limits included; the order of problems does not matter."""
    digest = hashlib.sha256()
    for language in sorted({problem.language for problem in problems} & ADAPTERS.keys()):
        toolchain = ADAPTERS[language].toolchain
        digest.update(repr((language, toolchain.compile, toolchain.run, toolchain.limits)).encode())
    for problem in sorted(problems, key=lambda problem: problem.id):
        shown = (problem.head, problem.prompt, problem.suffix, problem.tail, *problem.stops)
        for part in (problem.id, problem.cluster, problem.language, *shown):
            data = part.encode()
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
