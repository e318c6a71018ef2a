"""What a request is answered with, and whether it is still true once it arrives."""

from dataclasses import dataclass

from acepilot.completion_cache import same_suffix
from lsp.documents import Documents, Snapshot


@dataclass(frozen=True)
class Suggestion:
    """`text` to be inserted at the cursor of `snapshot`. `id` opens the server's `/v1/explain/{id}`."""

    text: str
    snapshot: Snapshot
    id: str


@dataclass(frozen=True)
class Nothing:
    """No suggestion, and why. Without a reason it is nobody's business: a newer request took over."""

    reason: str


SUPERSEDED = Nothing("")


def as_of_now(suggestion: Suggestion, documents: Documents) -> Suggestion | Nothing:
    """The suggestion as the document is now: whoever typed its beginning meanwhile gets the rest."""
    then = suggestion.snapshot
    document = documents.get(then.uri)
    if document is not None and document.version == then.version:
        return suggestion
    stale = Nothing("The text changed while the completion was on its way.")
    if document is None or then.line >= len(document.lines):
        return stale
    now = document.snapshot_at(then.line, then.index, documents.encoding)
    if now.line_before != then.line_before:
        return stale
    for count in range(len(suggestion.text)):
        typed = suggestion.text[:count]
        if not now.suffix.startswith(typed):
            break
        if same_suffix(then.suffix, now.suffix[count:], typed):
            lines = typed.split("\n")
            index = len(lines[-1]) + (now.index if len(lines) == 1 else 0)
            here = document.snapshot_at(now.line + len(lines) - 1, index, documents.encoding)
            return Suggestion(suggestion.text[count:], here, suggestion.id)
    return stale
