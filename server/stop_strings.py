"""OpenAI's `stop`: ends a text before the first stop string, and never shows the beginning of one."""

from collections.abc import Sequence


class StopStrings:
    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._longest = max((len(stop) for stop in stops), default=0)
        self._searched = 0

    def feed(self, text: str) -> tuple[int, bool]:
        """For all text so far: how many characters are safe to show, and whether a stop string ended it."""
        start = max(0, self._searched - self._longest + 1)
        self._searched = len(text)
        found = [at for stop in self._stops if (at := text.find(stop, start)) != -1]
        if found:
            return min(found), True
        return len(text) - self._held_back(text), False

    def _held_back(self, text: str) -> int:
        """Length of the longest end of `text` that may yet become a stop string."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0
