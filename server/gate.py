"""Reads along while service.py generates: how much of the text may be shown, and when it is over."""

from collections.abc import Sequence
from dataclasses import dataclass

from acepilot.postprocess.chain import Context, EarlyStop
from acepilot.protocol import FinishReason
from server.engine.base import Delta
from server.stop_strings import StopStrings


@dataclass(frozen=True)
class Draft:
    """One sequence's text before the filters. `stopped_by` names the stop that ended it, None: the model."""

    text: str
    finish_reason: FinishReason
    stopped_by: str | None

    def until(self, end: int) -> "Draft":
        return self if end >= len(self.text) else Draft(self.text[:end], "stop", self.stopped_by)


class Gate:
    """Asks stop strings, and early stops where there is a `context`. `over`: no more is needed."""

    def __init__(self, stops: Sequence[str], context: Context | None) -> None:
        self._text = ""
        self._shown = 0
        self._finish_reason: FinishReason = "stop"
        self._stopped_by: str | None = None
        self._strings = StopStrings(stops)
        self._early = EarlyStop(context) if context is not None else None

    @property
    def over(self) -> bool:
        return self._stopped_by is not None

    @property
    def draft(self) -> Draft:
        return Draft(self._text[: self._shown], self._finish_reason, self._stopped_by)

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
        return self._text[before : self._shown]
