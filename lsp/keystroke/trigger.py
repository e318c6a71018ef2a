"""Whether to ask at all: the second step of the keystroke flow."""

from lsp.text.documents import Snapshot

MAX_CHARS_RIGHT = 8
"""In the middle of a line a suggestion seldom fits and always disturbs; llama.vim's rule and number."""


def refusal(snapshot: Snapshot, *, invoked: bool) -> str | None:
    """Why no completion is asked for here, as a sentence; None where it is."""
    if snapshot.looks_binary:
        return "This file looks binary: Acepilot completes text only."
    right = len(snapshot.line_after.rstrip())
    if not invoked and right > MAX_CHARS_RIGHT:
        return (
            f"There are {right} characters right of the cursor, more than {MAX_CHARS_RIGHT}: "
            "Acepilot completes here only when it is asked to by hand."
        )
    return None
