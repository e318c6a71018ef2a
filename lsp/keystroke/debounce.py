"""How long to wait for the next key before asking: a step of the keystroke flow.

Whoever types fast has no use for a suggestion between two keys, and whoever pauses should not wait. So the
wait is the user's own mean gap between keys, shorter where a thought ends (line end, after a non-word
character), and less the time that an answer takes anyway, since the next key can still cancel it then. After
Tabby's agent.
"""

START_GAP_MS = 150.0
LONGEST_GAP_MS = 1_000.0
"""A longer gap is a pause to think, not a rhythm."""
MAX_WAIT_MS = 400.0
MIN_WAIT_MS = 15.0
"""Keys that an editor sends in one burst (a paste, a macro) become one request."""
LINE_END_FACTOR = 0.75
NON_WORD_FACTOR = 0.5
WEIGHT_OF_LATEST = 0.2


class Debounce:
    """Learns from keys and answers. Times are milliseconds of one monotonic clock."""

    def __init__(self) -> None:
        self._gap_ms = START_GAP_MS
        self._response_ms: float | None = None
        self._last_key_ms: float | None = None

    def key(self, now_ms: float) -> None:
        """The user typed something."""
        if self._last_key_ms is not None and 0 < (gap := now_ms - self._last_key_ms) <= LONGEST_GAP_MS:
            self._gap_ms += WEIGHT_OF_LATEST * (gap - self._gap_ms)
        self._last_key_ms = now_ms

    def answered(self, response_ms: float) -> None:
        """A request was answered in full after `response_ms`."""
        known = response_ms if self._response_ms is None else self._response_ms
        self._response_ms = known + WEIGHT_OF_LATEST * (response_ms - known)

    def wait_ms(self, line_before: str, line_after: str, *, invoked: bool) -> float:
        """How long to wait before a request is sent, in milliseconds."""
        if invoked:
            return 0.0
        last = line_before[-1:]
        if not (last.isalnum() or last == "_"):
            factor = NON_WORD_FACTOR
        else:
            factor = 1.0 if line_after.strip() else LINE_END_FACTOR
        return min(max(self._gap_ms * factor - (self._response_ms or 0.0), MIN_WAIT_MS), MAX_WAIT_MS)
