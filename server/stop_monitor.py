"""Reads along while service.py generates: how much of the text may be shown, and when it is over."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from acepilot.postprocess.chain import Context, EarlyStop
from acepilot.protocol import FinishReason
from server.engine.base import Delta
from server.stop_strings import StopStrings


@dataclass(frozen=True)
class GeneratedText:
    """One sequence's text before the filters. `stopped_by` names the stop that ended it, None: the model."""

    text: str
    finish_reason: FinishReason
    stopped_by: str | None

    def until(self, end: int) -> "GeneratedText":
        return self if end >= len(self.text) else GeneratedText(self.text[:end], "stop", self.stopped_by)


class StopMonitor:
    """Asks stop strings, early stops where there is a `context`, and the clock. `over`: no more is needed.

    A time limit counts from the first token, and ends a text with its last whole line, once there is one.
    """

    def __init__(
        self, stops: Sequence[str], context: Context | None, time_limit_ms: int | None = None
    ) -> None:
        self._text = ""
        self._shown = 0
        self._finish_reason: FinishReason = "stop"
        self._stopped_by: str | None = None
        self._strings = StopStrings(stops)
        self._early = EarlyStop(context) if context is not None else None
        self._time_limit_ms = time_limit_ms
        self._began: float | None = None

    @property
    def over(self) -> bool:
        return self._stopped_by is not None

    @property
    def draft(self) -> GeneratedText:
        return GeneratedText(self._text[: self._shown], self._finish_reason, self._stopped_by)

    def feed(self, delta: Delta) -> str:
        """What of the text may be shown now. At its end all may be, unless something stopped it."""
        self._text += delta.text
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
        if self._time_limit_ms is None:
            return False
        now = time.perf_counter()
        if self._began is None:
            self._began = now
        if (now - self._began) * 1000 < self._time_limit_ms:
            return False
        return "\n" in self._text.lstrip() and bool(self._text[: self._shown].strip())

    def _end_with_last_line(self) -> None:
        """The newline stays: it tells the filters that the line before it is whole."""
        end = min(self._text.rindex("\n"), self._shown)
        self._text = self._text[:end] + "\n"
        self._shown = len(self._text)
        self._finish_reason, self._stopped_by = "length", "time_limit"
