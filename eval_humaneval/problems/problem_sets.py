"""Load the problem sets that a user names with --problems."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from acepilot.errors import ConfigError
from eval_humaneval import formats
from eval_humaneval.languages import ADAPTERS, builtin_problems
from eval_humaneval.problems.builtin import vue_problems
from eval_humaneval.problems.problem import Problem, ProblemSet


def load(sources: Sequence[str], languages: Sequence[str] = ()) -> ProblemSet:
    """Load the problems of all `sources` in `languages`; an empty list means all. Raise ConfigError."""
    unknown = [name for name in languages if name not in ADAPTERS]
    if unknown:
        raise ConfigError(f"No such language: {', '.join(unknown)}. Choose from {', '.join(ADAPTERS)}.")
    problems: list[Problem] = []
    skipped: Counter[str] = Counter()
    for source in sources:
        if source == "builtin":
            problems += [problem for language in ADAPTERS for problem in builtin_problems(language)]
            problems += vue_problems()
        else:
            loaded = formats.load(source)
            problems += loaded.problems
            skipped.update(loaded.skipped)
    chosen = tuple(problem for problem in problems if not languages or problem.language in languages)
    if not chosen:
        raise ConfigError(f"{', '.join(sources)} has no problem in {', '.join(languages) or 'any language'}.")
    most_common, count = Counter(problem.id for problem in chosen).most_common(1)[0]
    if count > 1:
        raise ConfigError(f"The problem {most_common} occurs twice: name each set once.")
    return ProblemSet(chosen, skipped)


def hash_of(problems: Sequence[Problem]) -> str:
    """Hash all that a model sees and is judged by, limits included; the order of problems does not matter."""
    digest = hashlib.sha256()
    for language in sorted({problem.language for problem in problems} & ADAPTERS.keys()):
        toolchain = ADAPTERS[language]
        digest.update(repr((language, toolchain.compile, toolchain.run, toolchain.limits)).encode())
    for problem in sorted(problems, key=lambda problem: problem.id):
        shown = (problem.head, problem.prompt, problem.suffix, problem.tail, *problem.stops)
        for part in (problem.id, problem.cluster, problem.language, *shown):
            data = part.encode()
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
