"""The post-processing chain, called by the server: when generation ends, and what of it is offered.

The model streams; `EarlyStop` says after each token what may be shown and whether to go on. `finish` filters
the final text. `STOPS` and `FILTERS` are the whole order; each entry is a file of its own beside this one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from acepilot.postprocess import (
    attribute,
    block_closed,
    closers,
    dedent,
    file_block,
    junk,
    leading_space,
    line_loop,
    next_line,
    repetition,
    scope,
    sentinels,
    single_line,
    suffix_start,
    top_level,
    trailing_space,
    unfinished_line,
)
from acepilot.postprocess.context import Context, FilterInput
from acepilot.postprocess.mode import choose_mode
from acepilot.postprocess.scan import Scan, scan
from acepilot.protocol import FilterReport

__all__ = [
    "FILTERS",
    "STOPS",
    "Context",
    "EarlyStop",
    "Filter",
    "Outcome",
    "Progress",
    "Stop",
    "choose_mode",
    "finish",
]


@dataclass(frozen=True)
class Stop:
    """`cut`: where the text ends, if this stop has fired. `hold`: from where it may still be cut.

    `reason`, here and in a filter: the sentence for the user where it left nothing.
    """

    name: str
    reason: str
    cut: Callable[[FilterInput], int | None]
    hold: Callable[[FilterInput], int] = lambda draft: len(draft.text)


STOPS = (
    Stop("sentinels", "The model ended its answer at once.", sentinels.cut, sentinels.hold),
    Stop("file_block", "The model only ended the file's block.", file_block.cut, file_block.hold),
    Stop(
        "suffix_start", "The model only repeated the rest of the line.", suffix_start.cut, suffix_start.hold
    ),
    Stop("closers", "The model only closed what is closed already.", closers.cut, closers.hold),
    Stop("attribute", "The model only closed the attribute.", attribute.cut),
    Stop("next_line", "The model only repeated the line below.", next_line.cut, next_line.hold),
    Stop("dedent", "The model left the block that the cursor is in.", dedent.cut, dedent.hold),
    Stop("top_level", "The model only began something new.", top_level.cut, top_level.hold),
    Stop("line_loop", "The model repeated itself within a line.", line_loop.cut),
    Stop("repetition", "The model repeated the same lines.", repetition.cut),
    Stop("block_closed", "The model only closed the block.", block_closed.cut),
    Stop("single_line", "The model had nothing to add to this line.", single_line.cut, single_line.hold),
)
"""In the order in which they are asked, at each character that can matter and at each line's end."""


@dataclass(frozen=True)
class Filter:
    name: str
    reason: str
    apply: Callable[[str, Context], str]


FILTERS = (
    Filter("line_loop", "The model repeated itself within a line.", line_loop.drop),
    Filter("repetition", "The model repeated the same lines.", repetition.drop),
    Filter("scope", "The model left the scope that the cursor is in.", scope.limit),
    Filter("leading_space", "The model only repeated the indentation.", leading_space.drop),
    Filter("trailing_space", "The model wrote nothing but white space.", trailing_space.drop),
    Filter("open_value", "The value has nothing in it.", attribute.close),
    Filter("junk", "The model wrote nothing but punctuation.", junk.drop),
)
"""After the stops. Cuts first, then what only tidies; `junk` judges what all others have left."""

UNFINISHED = Filter("unfinished_line", "The model did not finish a line.", unfinished_line.drop)
"""Before all others, and only where generation ran out of tokens."""


@dataclass(frozen=True)
class Progress:
    """`text[:visible]` may be shown. With `stopped_by` set, generation ends and that is the result."""

    visible: int
    stopped_by: str | None


class EarlyStop:
    """Reads a completion while it is generated.

    It judges one character after the other, whatever the chunks, so that the result never depends on them.
    """

    def __init__(self, context: Context, stops: tuple[Stop, ...] = STOPS) -> None:
        stack = context.cursor.stack
        self._context = context
        self._stops = stops
        self._read = 0
        self._line_start = 0
        self._above = Scan(stack, len(stack), ())
        self._cut: int | None = None
        self._stopped_by: Stop | None = None
        # Of letters and digits, only the last one of what ends the cursor's line can matter to a stop.
        self._telling_letter = context.cursor.rest.rstrip()[-1:]

    def feed(self, text: str) -> Progress:
        """`text`: all that was generated so far."""
        self._advance(text)
        safe = self._cut
        if safe is None:
            draft = self._draft(text, len(text), ended=False)
            safe = min((stop.hold(draft) for stop in self._stops), default=len(text))
        return Progress(len(text[:safe].rstrip()), self._stopped_by.name if self._stopped_by else None)

    def close(self, text: str) -> tuple[str, Stop | None]:
        """What is left of `text`, given that no more will come: its last line is judged as a whole one."""
        self._advance(text)
        self._judge(text, len(text), ended=True)
        return text[: self._cut], self._stopped_by

    def _advance(self, text: str) -> None:
        while self._read < len(text) and self._cut is None:
            position = self._read
            char = text[position]
            self._read += 1
            if char == "\n":
                self._judge(text, position, ended=True)
                line = text[self._line_start : self._read]
                self._above = scan(line, self._context.cursor.language, self._above.stack, self._above.floor)
                self._line_start = self._read
            elif (
                not char.isalnum() or char == self._telling_letter or (position - self._line_start) % 64 == 63
            ):
                self._judge(text, self._read, ended=False)

    def _judge(self, text: str, end: int, *, ended: bool) -> None:
        if self._cut is not None:
            return
        draft = self._draft(text, end, ended=ended)
        for stop in self._stops:
            cut = stop.cut(draft)
            if cut is not None:
                self._cut, self._stopped_by = self._settle(text, cut), stop
                return

    def _settle(self, text: str, cut: int) -> int:
        """In line mode, what went on to close its brackets and did not get there is cut to its first line."""
        first_end = text.find("\n", 0, cut)
        if self._context.mode == "block" or first_end < 0:
            return cut
        cursor = self._context.cursor
        return first_end if scan(text[:cut], cursor.language, cursor.stack).opened else cut

    def _draft(self, text: str, end: int, *, ended: bool) -> FilterInput:
        return FilterInput(self._context, text[:end], self._line_start, self._above, ended)


@dataclass(frozen=True)
class Outcome:
    """`text`: what to offer, empty for nothing. `reason`: why nothing, in a sentence; else empty."""

    text: str
    filters: tuple[FilterReport, ...]
    reason: str


def finish(text: str, context: Context, *, truncated: bool) -> Outcome:
    """Filter a finished text. `truncated`: generation ran out of tokens, and may have ended in mid-line.

    The stops are asked once more: they judge the last line too, which no newline ended, and every text that
    was not streamed. So streaming never changes what is offered.
    """
    if not text:
        return Outcome("", (), "The model generated nothing.")
    reports: list[FilterReport] = []
    for kept, by in _filtered(text, context, truncated):
        if kept != text:
            reports.append(FilterReport(name=by.name, removed_chars=len(text) - len(kept), dropped=not kept))
        if not kept:
            return Outcome("", tuple(reports), by.reason)
        text = kept
    return Outcome(text, tuple(reports), "")


def _filtered(text: str, context: Context, truncated: bool) -> Iterator[tuple[str, Stop | Filter]]:
    """The text after each step, and what made the step."""
    if truncated:
        text = UNFINISHED.apply(text, context)
        yield text, UNFINISHED
    while True:
        kept, stop = EarlyStop(context, STOPS).close(text)
        if stop is None or kept == text:
            break
        text = kept.rstrip()  # as a stream shows it
        yield text, stop
    for each in FILTERS:
        text = each.apply(text, context)
        yield text, each
