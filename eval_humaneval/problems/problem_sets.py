"""From what a user names after --problems to the problems themselves."""

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
    """`skipped`: records of languages that are not run here, by language."""

    problems: tuple[Problem, ...]
    skipped: dict[str, int]


def load(sources: Sequence[str], languages: Sequence[str] = ()) -> ProblemSet:
    """The problems of all `sources` in `languages` (none named: all). Raises ConfigError."""
    unknown = [name for name in languages if name not in ADAPTERS]
    if unknown:
        raise ConfigError(f"No such language: {', '.join(unknown)}. There are {', '.join(ADAPTERS)}.")
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
            raise ConfigError(f"The problem {problem.id} is there twice: name each set once.")
        seen.add(problem.id)
    return ProblemSet(chosen, skipped)


def hash_of(problems: Sequence[Problem]) -> str:
    """Over all that a model sees and is judged by, whatever the order: limits on its programs, too."""
    digest = hashlib.sha256()
    for language in sorted({problem.language for problem in problems} & ADAPTERS.keys()):
        toolchain = ADAPTERS[language].toolchain
        digest.update(repr((language, toolchain.compile, toolchain.run, toolchain.limits)).encode())
    for problem in sorted(problems, key=lambda problem: problem.id):
        parts = (
            problem.id,
            problem.cluster,
            problem.language,
            problem.head,
            problem.prompt,
            problem.suffix,
            problem.tail,
            *problem.stops,
        )
        for part in parts:
            data = part.encode()
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
