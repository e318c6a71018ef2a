"""Compare the versions of the language server and the completion server. A difference is only reported."""

from acepilot import __version__


def difference(theirs: str, ours: str = __version__) -> str:
    """Return a sentence that says what to do about different versions, or "" if both work together.

    Releases that differ only in their last number work together.
    """
    if _series(theirs) == _series(ours):
        return ""
    return (
        f"The completion server is version {theirs} and this language server {ours}: install the same "
        "version of both, since one may not understand the other's messages."
    )


def _series(version: str) -> list[str]:
    return version.split(".")[:2]
