"""Where a completion ends in languages with closing braces, and where in their tests the verdict stands."""

import re
from dataclasses import dataclass

from eval_humaneval.problems.problem import VERDICT_MARK

RUN_ON = ("\nfunc main", "\nint main", "\nfn main", "\n#[cfg", "\n#include", "\n```")
"""Nothing that belongs to a solution begins like this at the margin."""


@dataclass(frozen=True)
class Ending:
    """A problem's stops, its canonical completion as they cut it, and what closes a completion."""

    stops: tuple[str, ...]
    canonical: str | None
    closing: str


def end_at(closer: str, canonical: str | None, closing: str) -> Ending:
    """Completions are cut at `closer`, the brace of the function that the prompt began, and `closing` takes
    its place. Where the set's own solution goes on behind a `closer`, because of helper functions or of lines
    that are not indented, a completion brings its own brace and ends where something new begins."""
    if canonical is None:
        return Ending((closer,), None, closing)
    body, found, rest = canonical.partition(closer)
    if found and re.fullmatch(r"([\s};]|^#(include|undef).*$)*", rest, re.MULTILINE):
        return Ending((closer,), body, closing)
    return Ending(RUN_ON, canonical, "\n")


def at_end_of_main(tests: str, depth: int) -> str:
    """`tests` with the mark before their last `depth` closing braces, the first of which is that of main."""
    match = re.search(rf"(?:return 0;\s*)?(?:\}}\s*){{{depth}}}\Z", tests)
    if match is None:
        raise ValueError("the tests do not end with the closing brace of main")
    return f"{tests[: match.start()]}{VERDICT_MARK}\n{tests[match.start() :]}"


def at_end(tests: str) -> str:
    """For languages in which statements stand at the top."""
    return f"{tests}\n{VERDICT_MARK}\n"
