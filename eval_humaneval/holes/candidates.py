"""Step 3 of hole filling: find the lines, blocks and expressions of a file that may become holes.

Holes are code that a user types and that a completion can help with. Comments, imports, multi-line strings
and code that does not parse are excluded, and so is text that occurs twice in the file, because it would
measure copying. The other rules stand beside each kind.
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

# Shorter holes are trivial; longer ones nobody can guess.
LINE_CHARS = (8, 120)
EXPRESSION_CHARS = (6, 80)
BLOCK_LINES = (2, 10)
MAX_BLOCK_CHARS = 500
MAX_STRING_CHARS = 40
"""A longer string is prose or data, which nobody can guess."""

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
class Candidate:
    """`text[start:end]` of the file may become a hole. `language` is that of the code around it,
    `text[inner_start:inner_end]`: the region, or one expression of a template."""

    kind: Kind
    start: int
    end: int
    block: str
    language: Language
    inner_start: int
    inner_end: int


@dataclass(frozen=True)
class _Line:
    """A non-blank line without the white space around it; `start` and `end` are offsets in the region."""

    start: int
    end: int
    text: str
    width: int


def find_candidates(text: str, regions: list[Region]) -> list[Candidate]:
    """Return all candidates of the file; they may overlap."""
    seen = Counter(line.strip() for line in text.split("\n"))
    found: list[Candidate] = []
    for region in regions:
        finder = _Finder(text, region, seen)
        found += [*finder.lines(), *finder.blocks(), *finder.expressions()]
    return found


class _Finder:
    """Finds the candidates of one region. Offsets are in its code; `candidate` turns them into the file's."""

    def __init__(self, text: str, region: Region, seen: Counter[str]) -> None:
        self.text = text
        self.code = text[region.start : region.end]
        self.region = region
        self.tree = region.tree
        self.seen = seen
        self.markup = region.language.block_style == "tags"
        self.code_lines = list(_lines(self.code))

    def candidate(self, kind: Kind, start: int, end: int) -> Candidate:
        at, region = self.region.start, self.region
        if kind == "expression" and self.markup:  # TypeScript's grammar reads JavaScript too
            language = LANGUAGES["typescript"]
            return Candidate(kind, at + start, at + end, region.block, language, at + start, at + end)
        return Candidate(kind, at + start, at + end, region.block, region.language, at, region.end)

    def lines(self) -> Iterator[Candidate]:
        for line in self.code_lines:
            if LINE_CHARS[0] <= len(line.text) <= LINE_CHARS[1] and self.is_informative(line):
                yield self.candidate("line", line.start, line.end)

    def is_informative(self, line: _Line) -> bool:
        """Return True if the line, or a part of it, is worth a hole."""
        text = line.text
        if self.markup and (text.startswith("</") or not re.search(r"[<={]", text)):
            return False  # a closing tag; prose
        if not _has_words(text) or _IMPORT.search(text) or _holds_prose(text):
            return False
        return self.seen[text] == 1 and not self.tree.is_excluded(line.start, line.end)

    def blocks(self) -> Iterator[Candidate]:
        """Yield the lines indented below a line that opens a block, if they are whole nodes for the parser: a
        body, an object, an element, a style rule."""
        for at, header in enumerate(self.code_lines):
            if not self.opens(header):
                continue
            below = self.code_lines[at + 1 : at + 2 + BLOCK_LINES[1]]  # one more than a block may have
            end = next((n for n, line in enumerate(below) if line.width <= header.width), len(below))
            body = below[:end]
            least_width = min((line.width for line in body), default=0)
            fits = BLOCK_LINES[0] <= len(body) <= BLOCK_LINES[1] and body[0].width == least_width
            if fits and self.is_block(body[0].start, body[-1].end):
                yield self.candidate("block", body[0].start, body[-1].end)

    def opens(self, line: _Line) -> bool:
        """Return True if `line` opens a block; lists of arguments and of data do not count."""
        language = self.region.language
        match language.block_style:
            case "indent":  # Ruby's `def f(x)` ends like any other line
                opener = True
            case "tags":
                opener = line.text.endswith(">")
            case _:
                opener = opens_block(line.text, language)
        return opener and not line.text.endswith(("(", "["))

    def is_block(self, start: int, end: int) -> bool:
        text = self.code[start:end]
        if len(text) > MAX_BLOCK_CHARS or _holds_prose(text) or self.text.count(text) > 1:
            return False
        return not self.tree.is_excluded(start, end) and self.tree.is_content(start, end)

    def expressions(self) -> Iterator[Candidate]:
        """Yield the values within a line: arguments, operands, assigned and returned values; in a style
        properties' values; in a template whole directive values and contents of `{{ }}`."""
        for line in filter(self.is_informative, self.code_lines):
            for start, end in self.tree.values_within(line.start, line.end):
                if self.is_value(line, start, end):
                    yield self.candidate("expression", start, end)

    def is_value(self, line: _Line, start: int, end: int) -> bool:
        length_fits = EXPRESSION_CHARS[0] <= end - start <= EXPRESSION_CHARS[1]
        if not length_fits or not _has_words(self.code[start:end]):
            return False
        if self.markup:
            return True
        left, right = self.code[line.start : start], self.code[end : line.end]
        return bool(_VALUE_FOLLOWS.search(left) and _VALUE_ENDS.match(right))


def _has_words(code: str) -> bool:
    """Return True for at least two words, one of them unquoted: not for `}`, `else {`, a list of strings."""
    return len(_WORD.findall(code)) >= 2 and _WORD.search(_STRING.sub("", code)) is not None


def _holds_prose(code: str) -> bool:
    return any(len(string) > MAX_STRING_CHARS for string in _STRING.findall(code))


def _lines(code: str) -> Iterator[_Line]:
    offset = 0
    for line in code.split("\n"):
        text = line.strip()
        if text:
            start = offset + len(indent_of(line))
            yield _Line(start, start + len(text), text, width(line))
        offset += len(line) + 1
