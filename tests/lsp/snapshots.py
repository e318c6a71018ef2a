"""A snapshot for tests that need no document."""

from lsp.text.documents import Snapshot


def snapshot(
    prefix: str = "x = ", suffix: str = "\n", uri: str = "file:///w/a.py", line: int = 0
) -> Snapshot:
    line_after = suffix.split("\n")[0]
    return Snapshot(uri, "python", 1, line, len(prefix), len(prefix), prefix, suffix, line_after, "\n")
