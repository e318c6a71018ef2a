"""Whether this language server and the completion server belong together. It is said; nothing is refused."""

from acepilot import __version__


def difference(theirs: str, ours: str = __version__) -> str:
    """A sentence where one should be brought up to date; "" where they understand each other.

    Releases that differ in their last number only do.
    """
    if _series(theirs) == _series(ours):
        return ""
    return (
        f"The completion server is version {theirs} and this language server {ours}: install the same "
        "version of both, since either may not understand all that the other says."
    )


def _series(version: str) -> list[str]:
    return version.split(".")[:2]
