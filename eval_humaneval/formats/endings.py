"""Find where completions end in languages with braces, and where the tests get the verdict mark."""

import re
from dataclasses import dataclass

from eval_humaneval.problems.problem import VERDICT_MARK

RUN_ON = ("\nfunc main", "\nint main", "\nfn main", "\n#[cfg", "\n#include", "\n```")
"""Line starts that never belong to a solution."""


@dataclass(frozen=True)
class Ending:
    """A problem's stops, its canonical completion cut at them, and the text that closes a completion."""

    stops: tuple[str, ...]
    canonical: str | None
    closing: str


def end_at(closer: str, canonical: str | None, closing: str) -> Ending:
    """Cut completions at `closer`, the closing brace of the prompt's function, and put `closing` there. If
    the set's own solution continues after a `closer`, because of helper functions or unindented lines, a
    completion must close its own brace, and ends at one of RUN_ON."""
    if canonical is None:
        return Ending((closer,), None, closing)
    body, found, rest = canonical.partition(closer)
    if found and re.fullmatch(r"([\s};]|^#(include|undef).*$)*", rest, re.MULTILINE):
        return Ending((closer,), body, closing)
    return Ending(RUN_ON, canonical, "\n")


def at_end_of_main(tests: str, depth: int) -> str:
    """Put the verdict mark before the last `depth` closing braces of `tests`; the first one ends main."""
    match = re.search(rf"(?:return 0;\s*)?(?:\}}\s*){{{depth}}}\Z", tests)
    if match is None:
        raise ValueError("the tests do not end with the closing brace of main")
    return f"{tests[: match.start()]}{VERDICT_MARK}\n{tests[match.start() :]}"


def at_end(tests: str) -> str:
    """Put the verdict mark after `tests`, for languages with top-level statements."""
    return f"{tests}\n{VERDICT_MARK}\n"
