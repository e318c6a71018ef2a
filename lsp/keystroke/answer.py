"""What a request is answered with, and whether it is still true once it arrives."""

from dataclasses import dataclass, replace

from acepilot.completion_cache import same_suffix
from lsp.feedback.offer import Key
from lsp.text.documents import Documents, Snapshot


@dataclass(frozen=True)
class Suggestion:
    """`text` to be inserted at the cursor of `snapshot`. `id` opens the server's `/v1/explain/{id}`."""

    text: str
    snapshot: Snapshot
    id: str
    model: str
    choice: int = 0
    """Which of the candidates that this id stands for."""

    @property
    def key(self) -> Key:
        return self.id, self.choice


@dataclass(frozen=True)
class Nothing:
    """No suggestion, and why. Without a reason it is nobody's business: a newer request took over.

    `id` is as a Suggestion's, where the server was asked.
    """

    reason: str
    id: str = ""


SUPERSEDED = Nothing("")
NOTHING_TO_ADD = "The model had nothing to add here."
STALE = Nothing("The text changed while the completion was on its way.")


def as_of_now(suggestion: Suggestion, documents: Documents) -> Suggestion | Nothing:
    """The suggestion as the document is now: whoever typed its beginning meanwhile gets the rest."""
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
