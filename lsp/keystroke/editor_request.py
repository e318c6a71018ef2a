"""One request of the editor, its answer, and the answer's update to what the user has typed since."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

from lsp.suggestion import Suggestion
from lsp.text.documents import Documents
from lsp.text.typed import standing_counts


class EditorRequest:
    """Lets the steps of one request sleep until there is news for them.

    `superseded` means that a newer request for the same document has replaced this one.
    """

    def __init__(self) -> None:
        self.superseded = False
        self.woken = asyncio.Event()

    def supersede(self) -> None:
        self.superseded = True
        self.woken.set()

    async def sleep(self, longest_s: float) -> None:
        """Return when `woken` is set, or after `longest_s` seconds."""
        self.woken.clear()
        if not self.superseded:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.woken.wait(), longest_s)


@dataclass(frozen=True)
class Nothing:
    """No suggestion, and the reason.

    An empty reason means that a newer request replaced this one; it is not reported. `id` is the id of the
    server's completion, or "" if the server was not asked.
    """

    reason: str
    id: str = ""


SUPERSEDED = Nothing("")
NOTHING_TO_ADD = "The model had nothing to add here."
STALE = Nothing("The text changed while the completion was on its way.")


def rebased(suggestion: Suggestion, documents: Documents) -> Suggestion | Nothing:
    """Return the suggestion without what the user has typed of it since, or STALE after any other change."""
    then = suggestion.snapshot
    document = documents.get(then.uri)
    if document is not None and document.version == then.version:
        return suggestion
    if document is None or then.line >= len(document.lines) or then.selected is not None:
        return STALE
    now = document.snapshot_at(then.line, then.index, documents.encoding)
    if now.line_before != then.line_before:
        return STALE
    count = next(standing_counts(suggestion.text, then.suffix, now.suffix), len(suggestion.text))
    if count == len(suggestion.text):
        return STALE
    lines = suggestion.text[:count].split("\n")
    index = len(lines[-1]) + (now.index if len(lines) == 1 else 0)
    here = document.snapshot_at(now.line + len(lines) - 1, index, documents.encoding)
    return replace(suggestion, text=suggestion.text[count:], snapshot=here)
