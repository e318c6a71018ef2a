"""Hole-filling, step 3: where in a file a hole may be cut: what a user would type and could be helped with.

Never: comments, imports, texts of several lines, code that does not parse, and what stands elsewhere in the
file word for word, since copying would be measured. The rest of the rules are beside each kind.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from acepilot.languages import LANGUAGES, Language
from acepilot.postprocess.context import indent_of, width
from acepilot.postprocess.mode import opens_block
from eval_humaneval.holes.hole import Kind
from eval_humaneval.holes.regions import Region
from eval_humaneval.holes.tree import Tree

LINE_CHARS = (8, 120)
EXPRESSION_CHARS = (6, 80)
BLOCK_LINES = (2, 10)
BLOCK_CHARS = 500
STRING_CHARS = 40
"""A longer text in quotes is prose or data: nobody can guess it."""

_WORD = re.compile(r"[^\W\d]\w*")
_STRING = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|`[^`\n]*`")
_IMPORT = re.compile(
    r"\brequire(_relative)?\b|^export .* from\b|^@(import|use|forward)\b|^#include\b|^(namespace|package)\b"
    r"|^declare\("
)
_VALUE_FOLLOWS = re.compile(
    r"(?:[=(,:\[{?<>+*/%&|-]|\b(?:return|yield|await|in|of|if|elif|while|until|unless|and|or|not|throw|raise"
    r"|case|when|assert|else|then))[ \t]*$"
)
_VALUE_ENDS = re.compile(r"[ \t]*(?:[)\]},;:{]|$)")


@dataclass(frozen=True)
class Spot:
    """`text[start:end]` of the file may be cut out. `language` is that of `text[inner_start:inner_end]`, the
    code around it: the region, or one expression of a template."""

    kind: Kind
    start: int
    end: int
    block: str
    language: Language
    inner_start: int
    inner_end: int


@dataclass(frozen=True)
class _Row:
    """A line that is not blank, without the white space around it; `start` and `end` are in the region."""

    start: int
    end: int
    text: str
    width: int


def spots_of(text: str, regions: list[Region]) -> list[Spot]:
    """All of them; they overlap."""
    seen = Counter(line.strip() for line in text.split("\n"))
    found: list[Spot] = []
    for region in regions:
        code = text[region.start : region.end]
        reading = _Reading(text, code, region, Tree(region.root, code, region.language), seen)
        found += [*reading.lines(), *reading.blocks(), *reading.expressions()]
    return found


class _Reading:
    """One region. Offsets are in its own code; `spot` moves them to the file's."""

    def __init__(self, text: str, code: str, region: Region, tree: Tree, seen: Counter[str]) -> None:
        self.text = text
        self.code = code
        self.region = region
        self.tree = tree
        self.seen = seen
        self.markup = region.language.block_style == "tags"
        self.rows = list(_rows(code))

    def spot(self, kind: Kind, start: int, end: int) -> Spot:
        at, region = self.region.start, self.region
        if kind == "expression" and self.markup:  # TypeScript's grammar reads JavaScript too
            language = LANGUAGES["typescript"]
            return Spot(kind, at + start, at + end, region.block, language, at + start, at + end)
        return Spot(kind, at + start, at + end, region.block, region.language, at, region.end)

    def lines(self) -> Iterator[Spot]:
        for row in self.rows:
            if LINE_CHARS[0] <= len(row.text) <= LINE_CHARS[1] and self.telling(row):
                yield self.spot("line", row.start, row.end)

    def telling(self, row: _Row) -> bool:
        """Whether a line is worth asking for, or for a part of it."""
        text = row.text
        if self.markup and (text.startswith("</") or not re.search(r"[<={]", text)):
            return False  # a closing tag; prose
        if not _says_something(text) or _IMPORT.search(text) or _holds_prose(text):
            return False
        return self.seen[text] == 1 and not self.tree.is_dark(row.start, row.end)

    def blocks(self) -> Iterator[Spot]:
        """What is indented below a line that opens a block, up to where the indentation ends, if to the
        parser, too, it is the whole content of something: a body, an object, an element, a style rule."""
        for at, header in enumerate(self.rows):
            if not self.opens(header):
                continue
            body = list(self.below(at, header))
            if BLOCK_LINES[0] <= len(body) <= BLOCK_LINES[1] and body[0].width == min(
                row.width for row in body
            ):
                start, end = body[0].start, body[-1].end
                if self.is_block(start, end):
                    yield self.spot("block", start, end)

    def opens(self, row: _Row) -> bool:
        """Lists of arguments and of data are no blocks."""
        language = self.region.language
        match language.block_style:
            case "indent":  # Ruby's `def f(x)` ends like any other line
                opener = True
            case "tags":
                opener = row.text.endswith(">")
            case _:
                opener = opens_block(row.text, language)
        return opener and not row.text.endswith(("(", "["))

    def below(self, at: int, header: _Row) -> Iterator[_Row]:
        """The lines further right, one more than a block may have at most."""
        for row in self.rows[at + 1 : at + 2 + BLOCK_LINES[1]]:
            if row.width <= header.width:
                return
            yield row

    def is_block(self, start: int, end: int) -> bool:
        text = self.code[start:end]
        if len(text) > BLOCK_CHARS or _holds_prose(text) or self.text.count(text) > 1:
            return False
        return not self.tree.is_dark(start, end) and self.tree.is_content(start, end)

    def expressions(self) -> Iterator[Spot]:
        """Values within a line: arguments, operands, what is assigned or returned; in a style a property's
        value; in a template the whole of a directive's value or of `{{ }}`."""
        for row in self.rows:
            if not self.telling(row):
                continue
            for start, end in self.tree.values_within(row.start, row.end):
                if self.is_value(row, start, end):
                    yield self.spot("expression", start, end)

    def is_value(self, row: _Row, start: int, end: int) -> bool:
        if not EXPRESSION_CHARS[0] <= end - start <= EXPRESSION_CHARS[1]:
            return False
        if not _says_something(self.code[start:end]):
            return False
        if self.markup:
            return True
        left, right = self.code[row.start : start], self.code[end : row.end]
        return bool(_VALUE_FOLLOWS.search(left) and _VALUE_ENDS.match(right))


def _says_something(code: str) -> bool:
    """Two words at least, one of them outside of quotes: no lone brace, no `else {`, no list of texts."""
    return len(_WORD.findall(code)) >= 2 and _WORD.search(_STRING.sub("", code)) is not None


def _holds_prose(code: str) -> bool:
    return any(len(string) > STRING_CHARS for string in _STRING.findall(code))


def _rows(code: str) -> Iterator[_Row]:
    offset = 0
    for line in code.split("\n"):
        text = line.strip()
        if text:
            start = offset + len(indent_of(line))
            yield _Row(start, start + len(text), text, width(line))
        offset += len(line) + 1
