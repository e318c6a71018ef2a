"""The answer to one request, and its update to the text that the user has typed since."""

from dataclasses import dataclass, replace

from acepilot.completion_cache import same_suffix
from lsp.suggestion import Suggestion
from lsp.text.documents import Documents


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
    for count in range(len(suggestion.text)):
        typed = suggestion.text[:count]
        if not now.suffix.startswith(typed):
            break
        if same_suffix(then.suffix, now.suffix[count:], typed):
            lines = typed.split("\n")
            index = len(lines[-1]) + (now.index if len(lines) == 1 else 0)
            here = document.snapshot_at(now.line + len(lines) - 1, index, documents.encoding)
            return replace(suggestion, text=suggestion.text[count:], snapshot=here)
    return STALE
