"""How many characters right of the cursor a completion replaces: the last step of the keystroke flow.

Editors close brackets and quotes by themselves. A completion with its own closer must replace the editor's
closer, or a stray bracket is left behind; a completion without one must keep it.
"""

from acepilot.completion_cache import CLOSER_OF

_OPENER_OF = {closer: opener for opener, closer in CLOSER_OF.items()}
_QUOTES = frozenset(opener for opener, closer in CLOSER_OF.items() if opener == closer)


def reach(text: str, line_after: str) -> int:
    """Return how many characters right of the cursor `text` replaces."""
    leading = line_after[: len(line_after) - len(line_after.lstrip("".join(_OPENER_OF)))]
    closed = _closed_by(text, leading)
    if closed < len(leading):
        return closed
    # All closers are replaced; the text may also repeat what follows them: `;`, or the rest of the line.
    for end in range(len(line_after), closed, -1):
        tail = line_after[:end]
        whole = not line_after[end:].strip()
        if text.endswith(tail) and (whole or not any(char.isalnum() or char == "_" for char in tail)):
            return end
    return closed


def _closed_by(text: str, closers: str) -> int:
    """Return how many of `closers`, the first characters right of the cursor, `text` contains itself.

    Their brackets and quotes are open left of the cursor; the first closer belongs to the innermost.
    """
    open_now = [_OPENER_OF[closer] for closer in reversed(closers)]
    given = left = len(open_now)
    for char in text:
        innermost = open_now[-1] if open_now else ""
        if innermost and CLOSER_OF[innermost] == char:
            open_now.pop()
            left = min(left, len(open_now))
        elif innermost in _QUOTES:
            if char == "\n" and len(open_now) > left and innermost != "`":
                open_now.pop()  # an apostrophe, not a string: a string ends on its line
        elif char in CLOSER_OF:
            open_now.append(char)
    return given - left
