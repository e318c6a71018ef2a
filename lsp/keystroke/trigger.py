"""Whether to ask the server at all: a step of the keystroke flow."""

from lsp.text.documents import Snapshot

MAX_CHARS_RIGHT = 8
"""With more characters right of the cursor, a suggestion rarely fits. The number is llama.vim's."""


def refusal(snapshot: Snapshot, *, invoked: bool) -> str | None:
    """Return the sentence that says why the server is not asked here, or None if it is to be asked."""
    if snapshot.looks_binary:
        return "This file looks binary: Acepilot completes text only."
    right = len(snapshot.line_after.rstrip())
    if not invoked and right > MAX_CHARS_RIGHT:
        return (
            f"There are {right} characters right of the cursor, more than {MAX_CHARS_RIGHT}: "
            "here Acepilot completes only when you ask by hand."
        )
    return None
