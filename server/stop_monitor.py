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
        self._hidden = HiddenCharacters(context.prefix, context.suffix) if context is not None else None
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
        self._stops = tuple(stops)
        self._longest = max((len(stop) for stop in stops), default=0)
        self._searched = 0

    def feed(self, text: str) -> tuple[int, bool]:
        """Take all text so far; return how many characters may be shown and whether a stop string ends it."""
        start = max(0, self._searched - self._longest + 1)
        self._searched = len(text)
        found = [at for stop in self._stops if (at := text.find(stop, start)) != -1]
        if found:
            return min(found), True
        return len(text) - self._held_back(text), False

    def _held_back(self, text: str) -> int:
        """Return the length of the longest end of `text` that may yet become a stop string."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0
