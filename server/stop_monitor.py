"""Reads along while service.py generates: how much of the text may be shown, and when generation must end."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from acepilot.postprocess.chain import EarlyStop, Stop
from acepilot.postprocess.context import Context
from acepilot.untrusted_text import HiddenCharacters
from server.engine.base import Delta


@dataclass(frozen=True)
class GeneratedText:
    """One sequence's text before the filters. `stopped_by` names the stop that ended it; None: the model.

    `hidden_chars` counts the characters that HIDDEN dropped from it.
    """

    text: str
    finish_reason: Literal["stop", "length"]
    stopped_by: str | None
    hidden_chars: int = 0

    def until(self, end: int) -> "GeneratedText":
        return self if end >= len(self.text) else replace(self, text=self.text[:end], finish_reason="stop")


class StopMonitor:
    """Combines stop strings, the early stops where there is a `context`, and a time limit.

    Where there is a `context`, hidden characters are dropped as the text arrives: what a stream has shown
    cannot be taken back.

    `over`: generation must end. The time limit counts from the first token; when it has passed, the text ends
    with its last whole line, as soon as there is one.
    """

    def __init__(
        self,
        stop_strings: Sequence[str],
        context: Context | None,
        early_stops: tuple[Stop, ...],
        time_limit_ms: int | None,
    ) -> None:
        self._text = ""
        self._shown = 0
        self._finish_reason: Literal["stop", "length"] = "stop"
        self._stopped_by: str | None = None
        self._strings = StopStrings(stop_strings)
        self._early = EarlyStop(context, early_stops) if context is not None else None
        self._hidden = HiddenCharacters(context.prefix, context.hidden) if context is not None else None
        self._hidden_chars = 0
        self._time_limit_ms = time_limit_ms
        self._began: float | None = None

    @property
    def over(self) -> bool:
        return self._stopped_by is not None

    @property
    def generated(self) -> GeneratedText:
        text = self._text[: self._shown]
        return GeneratedText(text, self._finish_reason, self._stopped_by, self._hidden_chars)

    def feed(self, delta: Delta) -> str:
        """Return the text that may be shown now: all of it when the model ends and no stop has fired."""
        new = delta.text if self._hidden is None else self._hidden.visible(delta.text)
        self._hidden_chars += len(delta.text) - len(new)
        self._text += new
        visible, stopped = self._strings.feed(self._text)
        if stopped:
            self._stopped_by = "stop_string"
        if self._early is not None:
            progress = self._early.feed(self._text[:visible])
            visible = min(visible, progress.visible)
            self._stopped_by = progress.stopped_by or self._stopped_by
        if not self.over:
            self._finish_reason = delta.finish or self._finish_reason
            if delta.finish is not None:
                visible = len(self._text)
        before, self._shown = self._shown, max(self._shown, visible)
        if not self.over and delta.finish is None and self._time_is_over():
            self._end_with_last_line()
        return self._text[before : self._shown]

    def _time_is_over(self) -> bool:
        """Return True when the time limit has passed and there is a whole line to end with."""
        if self._time_limit_ms is None:
            return False
        now = time.perf_counter()
        if self._began is None:
            self._began = now
        if (now - self._began) * 1000 < self._time_limit_ms:
            return False
        return "\n" in self._text.lstrip() and bool(self._text[: self._shown].strip())

    def _end_with_last_line(self) -> None:
        """Cut the text after its last newline, which tells the filters that the line before it is whole."""
        end = min(self._text.rindex("\n"), self._shown)
        self._text = self._text[:end] + "\n"
        self._shown = len(self._text)
        self._finish_reason, self._stopped_by = "length", "time_limit"


class StopStrings:
    """OpenAI's `stop`: ends a text before the first stop string, and never shows the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [_StopString(stop) for stop in stops]
        self._searched = 0

    def feed(self, text: str) -> tuple[int, bool]:
        """Take all text so far; return how many characters may be shown and whether a stop string ends it."""
        new, self._searched = text[self._searched :], len(text)
        ends = [(stop, end) for stop in self._stops if (end := stop.read(new)) is not None]
        if ends:
            return min(len(text) - len(new) + end - len(stop.text) for stop, end in ends), True
        return len(text) - max((stop.matched for stop in self._stops), default=0), False


class _StopString:
    """Looks for one stop string in a growing text, and reads each character once (Knuth-Morris-Pratt).

    `matched` is the length of the longest end of the text that begins the stop string.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.matched = 0
        self._shorter = [0]  # for each length but 0: the next shorter end that begins the string, too
        for char in text[1:]:
            self._shorter.append(self._longer(self._shorter[-1], char))

    def read(self, new: str) -> int | None:
        """Return where the stop string ends in `new`, the next part of the text; None if it does not."""
        for at, char in enumerate(new):
            self.matched = self._longer(self.matched, char)
            if self.matched == len(self.text):
                return at + 1
        return None

    def _longer(self, matched: int, char: str) -> int:
        while matched and self.text[matched] != char:
            matched = self._shorter[matched - 1]
        return matched + 1 if self.text[matched] == char else 0
