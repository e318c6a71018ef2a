"""The post-processing chain, called by the server: when generation ends, and what of it is offered.

The model streams; `EarlyStop` says after each token what may be shown and whether to go on. `finish` filters
the final text. `STOPS` and `FILTERS` are the whole order; each entry is a file of its own beside this one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from acepilot.postprocess import (
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
from acepilot.postprocess.context import Context, Draft
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
    """`cut`: where the text ends, if this stop has fired. `hold`: from where it may still be cut."""

    name: str
    cut: Callable[[Draft], int | None]
    hold: Callable[[Draft], int] = lambda draft: len(draft.text)


STOPS = (
    Stop("sentinels", sentinels.cut, sentinels.hold),
    Stop("file_block", file_block.cut, file_block.hold),
    Stop("suffix_start", suffix_start.cut, suffix_start.hold),
    Stop("closers", closers.cut, closers.hold),
    Stop("next_line", next_line.cut, next_line.hold),
    Stop("dedent", dedent.cut, dedent.hold),
    Stop("top_level", top_level.cut, top_level.hold),
    Stop("line_loop", line_loop.cut),
    Stop("repetition", repetition.cut),
    Stop("block_closed", block_closed.cut),
    Stop("single_line", single_line.cut, single_line.hold),
)
"""In the order in which they are asked, at each character that can matter and at each line's end."""


@dataclass(frozen=True)
class Filter:
    """`reason`: the sentence for the user where this filter left nothing."""

    name: str
    apply: Callable[[str, Context], str]
    reason: str


def _cutting(cut: Callable[[Draft], int | None]) -> Callable[[str, Context], str]:
    """A stop as a filter: it also judges the last line, which no newline ended."""
    alone = (Stop("", cut),)
    return lambda text, context: text[: EarlyStop(context, alone).close(text)]


FILTERS = (
    Filter("sentinels", _cutting(sentinels.cut), "The model ended its answer at once."),
    Filter("single_line", _cutting(single_line.cut), "The model had nothing to add to this line."),
    Filter("file_block", _cutting(file_block.cut), "The model only began the file's next block."),
    Filter("line_loop", line_loop.drop, "The model repeated itself within a line."),
    Filter("repetition", repetition.drop, "The model repeated the same lines."),
    Filter("suffix_start", _cutting(suffix_start.cut), "The model only repeated the rest of the line."),
    Filter(
        "closers", _cutting(closers.cut), "The model only closed what is already closed after the cursor."
    ),
    Filter("next_line", _cutting(next_line.cut), "The model only repeated the line below."),
    Filter("dedent", _cutting(dedent.cut), "The model left the block that the cursor is in."),
    Filter("top_level", _cutting(top_level.cut), "The model only began something new."),
    Filter("block_closed", _cutting(block_closed.cut), "The model only closed the block."),
    Filter("scope", scope.limit, "The model left the scope that the cursor is in."),
    Filter("leading_space", leading_space.drop, "The model only repeated the indentation."),
    Filter("trailing_space", trailing_space.drop, "The model wrote nothing but white space."),
    Filter("junk", junk.drop, "The model wrote nothing but punctuation."),
)
"""Cuts first, widest first; then what only tidies; `junk` judges what all others have left."""

UNFINISHED = Filter("unfinished_line", unfinished_line.drop, "The model did not finish a line.")
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
        self._stopped_by: str | None = None
        # Of letters and digits, only the last one of what ends the cursor's line can matter to a stop.
        self._telling_letter = context.cursor.rest.rstrip()[-1:]

    def feed(self, text: str) -> Progress:
        """`text`: all that was generated so far."""
        self._advance(text)
        safe = self._cut
        if safe is None:
            draft = self._draft(text, len(text), ended=False)
            safe = min((stop.hold(draft) for stop in self._stops), default=len(text))
        return Progress(len(text[:safe].rstrip()), self._stopped_by)

    def close(self, text: str) -> int:
        """Where `text` is cut, given that no more will come: its last line is judged as a whole one."""
        self._advance(text)
        self._judge(text, len(text), ended=True)
        return len(text) if self._cut is None else self._cut

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
                self._cut, self._stopped_by = self._settle(text, cut), stop.name
                return

    def _settle(self, text: str, cut: int) -> int:
        """In line mode, what went on to close its brackets and did not get there is cut to its first line."""
        first_end = text.find("\n", 0, cut)
        if self._context.mode == "block" or first_end < 0:
            return cut
        cursor = self._context.cursor
        return first_end if scan(text[:cut], cursor.language, cursor.stack).opened else cut

    def _draft(self, text: str, end: int, *, ended: bool) -> Draft:
        return Draft(self._context, text[:end], self._line_start, self._above, ended)


@dataclass(frozen=True)
class Outcome:
    """`text`: what to offer, empty for nothing. `reason`: why nothing, in a sentence; else empty."""

    text: str
    filters: tuple[FilterReport, ...]
    reason: str


def finish(text: str, context: Context, *, truncated: bool) -> Outcome:
    """Filter a finished text. `truncated`: generation ran out of tokens, and may have ended in mid-line."""
    if not text:
        return Outcome("", (), "The model generated nothing.")
    reports: list[FilterReport] = []
    for each in (UNFINISHED, *FILTERS) if truncated else FILTERS:
        kept = each.apply(text, context)
        if kept != text:
            reports.append(
                FilterReport(name=each.name, removed_chars=len(text) - len(kept), dropped=not kept)
            )
        if not kept:
            return Outcome("", tuple(reports), each.reason)
        text = kept
    return Outcome(text, tuple(reports), "")
