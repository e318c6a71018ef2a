"""What stops and filters see: the document around the cursor, read once, and the generated text."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from acepilot.languages import Language
from acepilot.postprocess.code_reader import LINE_STRINGS
from acepilot.postprocess.reader import Opener, Scan
from acepilot.postprocess.scan import mode_of, resume, scan
from acepilot.syntax import embedded_at
from acepilot.untrusted_text import hidden_in

WINDOW_CHARS = 12_000
"""Characters read on either side of the cursor: about 300 lines, which take 2 ms in code, 10 ms in markup."""

_WORD = re.compile(r"[^\W\d_]{2}")


def has_word(text: str) -> bool:
    """Return whether two letters stand side by side. Lines without a word, such as closers, often repeat."""
    return _WORD.search(text) is not None


def indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def width(line: str) -> int:
    """The column of the first character that is not white space; a tab reaches the next multiple of 4."""
    return len(indent_of(line).expandtabs(4))


@dataclass(frozen=True)
class Cursor:
    """The document around the cursor, as stops and filters see it.

    `left` and `rest` are the two halves of the cursor's line, and `below` is the next line that is not blank.
    `before` and `after` are the windows around the cursor. Inside <script> and <style>, `language` is the
    embedded language and `embedded` the tag's name. `stack` holds the openers that the prefix leaves open,
    outermost first; `standing` says of each whether its closer already stands after the cursor.
    """

    left: str
    rest: str
    below: str
    before: str
    after: str
    language: Language
    embedded: str
    stack: tuple[Opener, ...]
    standing: tuple[bool, ...]

    @cached_property
    def inside(self) -> str:
        """The mark of the string, comment or tag around the cursor; "" in plain code or text."""
        return mode_of(self.stack, self.language)


@dataclass(frozen=True)
class Context:
    """What stands around the cursor as the filters see it, and whether to complete one line or a block.

    `located` is the cursor, if it has been read already.
    """

    prefix: str
    suffix: str
    language: Language
    mode: Literal["line", "block"]
    located: Cursor | None = None

    @cached_property
    def cursor(self) -> Cursor:
        return self.located or locate(self.prefix, self.suffix, self.language)

    @cached_property
    def hidden(self) -> frozenset[str]:
        """The hidden characters that the document has."""
        return hidden_in(self.prefix, self.suffix)


@dataclass(frozen=True)
class FilterInput:
    """A completion that is still being generated, as a stop sees it.

    `text` is the text so far, without the newline that ended its last line, which begins at `line_start`.
    `above` is the scan of the lines before that line, `settled` of the line's beginning. With `ended`, the
    last line is complete.
    """

    context: Context
    text: str
    line_start: int
    above: Scan
    settled: Scan
    ended: bool

    @cached_property
    def line(self) -> str:
        return self.text[self.line_start :]

    @cached_property
    def now(self) -> Scan:
        """The scan of the whole text. Its strays are those of the last line."""
        return self.read_to(len(self.text))

    def read_to(self, offset: int) -> Scan:
        """Return the scan of `text[:offset]`; `offset` is in the last line."""
        end = offset - self.line_start
        before = self.settled if self.settled.end <= end else Scan(self.above.stack, self.above.floor)
        return resume(self.line[:end], self.context.cursor.language, before)

    @property
    def in_code(self) -> bool:
        """Return whether the line starts as code, outside strings and brackets opened on a line above."""
        return not self.above.opened and not mode_of(self.above.stack, self.context.cursor.language)


def locate(prefix: str, suffix: str, language: Language) -> Cursor:
    """Read the document around the cursor. The cost depends on the window, not on the document's size."""
    embedded = embedded_at(prefix, language)
    inner = embedded.language if embedded else language
    content = embedded.start if embedded else 0
    before = prefix[max(content, len(prefix) - WINDOW_CHARS) :]
    if content + len(before) < len(prefix):
        before = before[_sure_code(before, inner) :]
    after = suffix[:WINDOW_CHARS]
    whole = len(suffix) <= WINDOW_CHARS
    if embedded and (end := after.find(f"</{embedded.tag}")) >= 0:
        after, whole = after[:end], True
    stack = scan(before, inner).stack
    rest, _, following = after.partition("\n")
    below = next((line.rstrip() for line in following.split("\n") if line.strip()), "")
    standing = _standing(stack, after, inner, whole)
    left = before.rpartition("\n")[2]
    return Cursor(left, rest, below, before, after, inner, embedded.tag if embedded else "", stack, standing)


def _sure_code(window: str, language: Language) -> int:
    """Return where to begin reading a window: at its first definition, else at its second line.

    The window may begin inside a docstring or a comment; read from there, strings would be taken for code.
    """
    words = "|".join(re.escape(stop.strip()) for stop in language.stops if stop.endswith(" "))
    match = re.search(rf"^[ \t]*(?:{words})[ \t]", window, re.MULTILINE) if words else None
    return match.start() if match else window.find("\n") + 1


def _standing(stack: tuple[Opener, ...], after: str, language: Language, whole: bool) -> tuple[bool, ...]:
    """Return for each opener whether it is closed in `after`: the `whole` suffix, or only a window of it."""
    inside = mode_of(stack, language)
    modes = tuple(opener for opener in stack[-8:] if opener.mark == inside or (inside and opener.mark == "<"))
    if inside and not _mode_closes(inside, after, language):
        modes = tuple(opener for opener in modes if opener.mark != inside)
    closed = [False] * len(stack) if whole else _closed_below(stack, after)
    by_mark: dict[str, list[int]] = {}
    by_place: dict[tuple[str, str], list[int]] = {}
    for index, opener in enumerate(stack):
        by_mark.setdefault(opener.mark, []).append(index)
        by_place.setdefault((opener.mark, opener.indent), []).append(index)
    depth = len(stack)
    for stray in scan(after, language, modes).strays:
        # `}` on a line of its own closes the block with the same indentation; inner blocks stay open.
        alike = by_place.get((stray.mark, stray.indent)) if stray.indent is not None else None
        opener = _last_below(depth, alike)
        if opener is None:
            opener = _last_below(depth, by_mark.get(stray.mark))
        if opener is None:
            continue
        innermost, depth = depth, opener
        closed[depth:innermost] = [True, *[False] * (innermost - depth - 1)]
    return tuple(closed)


def _last_below(depth: int, places: list[int] | None) -> int | None:
    """Return the last place that is less than `depth`. The others are dropped: `depth` only gets less."""
    while places and places[-1] >= depth:
        places.pop()
    return places[-1] if places else None


def _closed_below(stack: tuple[Opener, ...], window: str) -> list[bool]:
    """Return for each opener whether it may be closed below the window.

    It may if no line of the window is indented as little as the opener, or if the first such line closes.
    """
    outwards: list[tuple[int, bool]] = []  # the lines that are indented less than all lines before them
    for line in window.split("\n")[1:]:
        if line.strip() and not (outwards and width(line) >= outwards[-1][0]):
            outwards.append((width(line), line.lstrip()[0] in ")]}<"))
    columns = {indent: width(indent) for indent in {opener.indent for opener in stack}}
    may_close = {
        indent: next((closer for at, closer in outwards if at <= column), True)
        for indent, column in columns.items()
    }
    return [may_close[opener.indent] for opener in stack]


def _mode_closes(mark: str, after: str, language: Language) -> bool:
    """Return whether `after` closes the string or comment at the cursor, rather than opening another one."""
    if language.line_comment == mark or mark == "<":
        return True
    if language.block_comment and mark == language.block_comment[0]:
        end, again = after.find(language.block_comment[1]), after.find(mark)
        return end >= 0 and (again < 0 or end < again)
    if language.block_style == "tags":
        value = after.partition(mark)[0]
        return mark in after and not re.search(r"=\s*$|<|(?<!=)>", value)
    reach = after.partition("\n")[0] if mark in LINE_STRINGS else after
    marks = [found for found in re.findall(rf"\\.|{re.escape(mark)}", reach) if found == mark]
    return len(marks) % 2 == 1
