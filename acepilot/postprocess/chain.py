"""The post-processing chain: it decides when generation ends, and which part of the text is offered.

While the model generates, the server feeds `EarlyStop`, which asks each of STOPS in order: is the text to be
cut here? When generation has ended, `finish` runs in this order:

1. HIDDEN, which the server also applies to each piece before it is shown;
2. UNFINISHED, if generation ran out of tokens;
3. STOPS, from the start of the text, and again until none of them cuts;
4. FILTERS, in order.

Each stop is a file in stops/, each filter a file in filters/: pure functions on text. They may import
context.py, scan.py, mode.py, acepilot/languages.py and acepilot/syntax.py, and nothing of models: there is an
import contract in pyproject.toml.
To add one, write the file, put it into STOPS or FILTERS, and add tests/golden/NAME.toml.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from acepilot.postprocess.context import Context, FilterInput
from acepilot.postprocess.filters import (
    hidden_characters,
    junk,
    leading_space,
    scope,
    trailing_space,
    unfinished_line,
)
from acepilot.postprocess.reader import Scan
from acepilot.postprocess.scan import scan, settle
from acepilot.postprocess.stops import (
    attribute,
    block_closed,
    closers,
    dedent,
    file_block,
    line_loop,
    next_line,
    repetition,
    sentinels,
    single_line,
    suffix_start,
    top_level,
)
from acepilot.trail import FilterReport


@dataclass(frozen=True)
class Stop:
    """A rule that ends generation.

    `cut` returns the offset where the text ends, or None to go on. `hold` returns the offset from which a
    later cut is still possible, so that no character is shown and then taken back. `reason` is the sentence
    for the user if nothing is left.
    """

    name: str
    reason: str
    cut: Callable[[FilterInput], int | None]
    hold: Callable[[FilterInput], int] = lambda given: len(given.text)


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
    """A rule for the finished text: `apply` returns what is kept. `reason` is for the user, as in `Stop`."""

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
"""In order, after the stops: filters that cut, filters that tidy, and `junk`, which judges the result."""

HIDDEN = Filter("hidden_characters", "The model wrote nothing visible.", hidden_characters.drop)
"""Runs first. Stops and filters see no hidden character that the document does not have."""

UNFINISHED = Filter("unfinished_line", "The model did not finish a line.", unfinished_line.drop)
"""Runs before the stops, and only if generation ran out of tokens."""


SETTLE_CHARS = 24
"""Characters of a line that are read anew for each judgement; what stands before them is read once."""

MAX_PASSES = 10
"""Times that the stops judge a text. Each pass but the last one cuts; real text needs two."""


@dataclass(frozen=True)
class Progress:
    """`text[:visible]` may be shown. If `stopped_by` is set, generation ends, and that is the result."""

    visible: int
    stopped_by: str | None


class EarlyStop:
    """Judge a completion while it is generated. Without `stops`, everything is shown and nothing ends early.

    The text has no hidden characters: HIDDEN has been applied to it.

    It looks at every character in turn, so that the result does not depend on how the text arrives in pieces.
    """

    def __init__(self, context: Context, stops: Sequence[Stop] = STOPS) -> None:
        stack = context.cursor.stack
        self._context = context
        self._language = context.cursor.language
        self._stops = stops
        self._read = 0
        self._line_start = 0
        self._above = self._settled = Scan(stack, len(stack))
        self._cut: int | None = None
        self._stopped_by: Stop | None = None
        # The only letter or digit at which a stop can fire: the last character of the cursor's line.
        self._last_of_line = context.cursor.rest.rstrip()[-1:]

    def feed(self, text: str) -> Progress:
        """Judge `text`, all that was generated so far."""
        self._advance(text)
        safe = self._cut
        if safe is None:
            given = self._input(text, len(text), ended=False)
            safe = min((stop.hold(given) for stop in self._stops), default=len(text))
        return Progress(len(text[:safe].rstrip()), self._stopped_by.name if self._stopped_by else None)

    def close(self, text: str) -> tuple[str, Stop | None]:
        """Return what is kept of `text`, which is complete now, and the stop that cut it, if any."""
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
                above = scan(line, self._language, self._above.stack, self._above.floor)
                self._above = self._settled = Scan(above.stack, above.floor)
                self._line_start = self._read
            elif not char.isalnum() or char == self._last_of_line or (position - self._line_start) % 64 == 63:
                self._judge(text, self._read, ended=False)

    def _judge(self, text: str, end: int, *, ended: bool) -> None:
        if self._cut is not None:
            return
        if end - self._line_start - self._settled.end > SETTLE_CHARS:
            self._settled = settle(text[self._line_start : end], self._language, self._settled)
        given = self._input(text, end, ended=ended)
        for stop in self._stops:
            cut = stop.cut(given)
            if cut is not None:
                self._cut, self._stopped_by = self._settle(text, cut), stop
                return

    def _settle(self, text: str, cut: int) -> int:
        """In line mode, cut to the first line a text that continued and did not close its brackets."""
        first_end = text.find("\n", 0, cut)
        if self._context.mode == "block" or first_end < 0:
            return cut
        cursor = self._context.cursor
        return first_end if scan(text[:cut], cursor.language, cursor.stack).opened else cut

    def _input(self, text: str, end: int, *, ended: bool) -> FilterInput:
        return FilterInput(self._context, text[:end], self._line_start, self._above, self._settled, ended)


@dataclass(frozen=True)
class Outcome:
    """The `text` to offer. If it is empty, `reason` is a sentence that says why; else `reason` is empty."""

    text: str
    filters: tuple[FilterReport, ...]
    reason: str


def finish(
    text: str,
    context: Context,
    *,
    truncated: bool,
    hidden_chars: int = 0,
    stops: Sequence[Stop] = STOPS,
    filters: Sequence[Filter] = FILTERS,
) -> Outcome:
    """Filter a finished text. With `truncated`, generation ran out of tokens, perhaps within a line.

    `hidden_chars` is the number of characters that HIDDEN has already dropped while the text was generated.

    The stops judge the whole text again, and its last line for the first time, since no newline ended it. So
    a streamed text and one that was not streamed give the same outcome.
    """
    reports: list[FilterReport] = []
    if hidden_chars:
        reports.append(FilterReport(name=HIDDEN.name, removed_chars=hidden_chars, dropped=not text))
    if not text:
        reason = HIDDEN.reason if hidden_chars else "The model generated nothing."
        return Outcome("", tuple(reports), reason)
    for kept, by in _filtered(text, context, truncated, stops, filters):
        if kept != text:
            reports.append(FilterReport(name=by.name, removed_chars=len(text) - len(kept), dropped=not kept))
        if not kept:
            return Outcome("", tuple(reports), by.reason)
        text = kept
    return Outcome(text, tuple(reports), "")


def _filtered(
    text: str, context: Context, truncated: bool, stops: Sequence[Stop], filters: Sequence[Filter]
) -> Iterator[tuple[str, Stop | Filter]]:
    """Yield the text after each step, and the stop or filter that made the step."""
    text = HIDDEN.apply(text, context)
    yield text, HIDDEN
    if truncated:
        text = UNFINISHED.apply(text, context)
        yield text, UNFINISHED
    for _ in range(MAX_PASSES):
        kept, stop = EarlyStop(context, stops).close(text)
        if stop is None or kept == text:
            break
        text = kept.rstrip()  # as a stream shows it
        yield text, stop
    for each in filters:
        text = each.apply(text, context)
        yield text, each
