"""How far an inserted text reaches over what stands right of the cursor: the last step of the keystroke flow.

Editors close brackets and quotes by themselves. A completion that brings its own closer must replace the one
that stands there, or a stray bracket is left behind; one that does not must leave it alone.
"""

from acepilot.completion_cache import CLOSER_OF

_OPENER_OF = {closer: opener for opener, closer in CLOSER_OF.items()}
_QUOTES = frozenset(opener for opener, closer in CLOSER_OF.items() if opener == closer)


def reach(text: str, line_after: str) -> int:
    """How many characters right of the cursor `text` replaces."""
    leading = _leading_closers(line_after)
    closed = _closed_by(text, leading)
    if closed < len(leading):
        return closed
    # Every bracket is accounted for; the text may also repeat what follows them, `;` or a whole line's end.
    for end in range(len(line_after), closed, -1):
        tail = line_after[:end]
        whole = not line_after[end:].strip()
        if text.endswith(tail) and (whole or not any(char.isalnum() or char == "_" for char in tail)):
            return end
    return closed


def _leading_closers(line_after: str) -> str:
    count = 0
    while count < len(line_after) and line_after[count] in _OPENER_OF:
        count += 1
    return line_after[:count]


def _closed_by(text: str, closers: str) -> int:
    """How many of `closers`, which stand right of the cursor, `text` closes itself.

    The brackets and quotes that they answer are open left of the cursor, the innermost first.
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
                open_now.pop()  # an apostrophe, not a string: strings end with their line
        elif char in CLOSER_OF:
            open_now.append(char)
    return given - left
