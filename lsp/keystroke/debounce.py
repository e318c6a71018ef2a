"""How long to wait for the next key before the server is asked: a step of the keystroke flow.

A fast typist cannot use a suggestion between two keys, and a user who pauses should not wait. The wait is
therefore the user's own mean gap between keys. It is shorter at the end of a line and after a character that
is not part of a word, and shorter by the server's usual response time, since the next key can still cancel
the request during that time. The method is that of Tabby's agent.
"""

START_GAP_MS = 150.0  # until the user's own gap is known
LONGEST_GAP_MS = 1_000.0  # a longer gap is a pause to think, and does not count
MAX_WAIT_MS = 400.0
MIN_WAIT_MS = 15.0  # keys that an editor sends in one burst (a paste, a macro) become one request
LINE_END_FACTOR = 0.75
NON_WORD_FACTOR = 0.5
WEIGHT_OF_LATEST = 0.2  # of the latest value in each moving average


class Debounce:
    """Learns from keys and responses. Times are in milliseconds of one monotonic clock."""

    def __init__(self) -> None:
        self._gap_ms = START_GAP_MS
        self._response_ms: float | None = None
        self._last_key_ms: float | None = None

    def key(self, now_ms: float) -> None:
        if self._last_key_ms is not None and 0 < (gap := now_ms - self._last_key_ms) <= LONGEST_GAP_MS:
            self._gap_ms += WEIGHT_OF_LATEST * (gap - self._gap_ms)
        self._last_key_ms = now_ms

    def answered(self, response_ms: float) -> None:
        known = response_ms if self._response_ms is None else self._response_ms
        self._response_ms = known + WEIGHT_OF_LATEST * (response_ms - known)

    def wait_ms(self, line_before: str, line_after: str, *, invoked: bool) -> float:
        """Return how many milliseconds to wait before the request is sent."""
        if invoked:
            return 0.0
        last = line_before[-1:]
        if not (last.isalnum() or last == "_"):
            factor = NON_WORD_FACTOR
        else:
            factor = 1.0 if line_after.strip() else LINE_END_FACTOR
        return min(max(self._gap_ms * factor - (self._response_ms or 0.0), MIN_WAIT_MS), MAX_WAIT_MS)
