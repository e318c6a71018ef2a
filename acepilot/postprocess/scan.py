"""The lexer for stops and filters: `scan` finds out what a piece of code leaves open, and what it closes.

It reads fragments that no parser accepts (a half-written line, a document cut at the cursor). So it knows
only strings, comments, brackets and, in tag languages, tags. Everything that opens is an `Opener` on a stack:
a bracket, a string or comment mark, an unfinished tag (`<`), an element (`<li>`). So one rule, "what already
stands after the cursor is not closed again", serves all of them.
"""

import re
from dataclasses import dataclass
from functools import cache

from acepilot.languages import Language

PAIRS = {")": "(", "]": "[", "}": "{"}
_INDENT = re.compile(r"[^\S\n]*")
LINE_STRINGS = ('"', "'")
VOID_ELEMENTS = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track")
) | {"wbr", "!doctype", "?xml"}


@dataclass(frozen=True)
class Opener:
    """Something open. `mark` opened it, on a line with `indent`; `name` is the name of an unfinished tag."""

    mark: str
    indent: str
    name: str = ""


@dataclass(frozen=True)
class Stray:
    """A closer whose opener is not in the scanned text.

    `depth` is the opener's index on the stack with which the scan began, or -1 if it is not there. `indent`
    is None unless the closer stands first on its line.
    """

    start: int
    end: int
    mark: str
    depth: int
    indent: str | None


@dataclass(frozen=True)
class Scan:
    """The stack after a text. `stack[:floor]` was open before the text; the text opened the rest."""

    stack: tuple[Opener, ...]
    floor: int
    strays: tuple[Stray, ...]

    @property
    def opened(self) -> tuple[Opener, ...]:
        return self.stack[self.floor :]


def scan(text: str, language: Language, stack: tuple[Opener, ...] = (), floor: int | None = None) -> Scan:
    """Scan `text`, which begins inside the openers of `stack`, outermost first.

    Openers from `floor` on count as opened by `text`; so a text can be scanned line by line.
    """
    reader = _TagReader if language.block_style == "tags" else _CodeReader
    return reader(text, language, stack, len(stack) if floor is None else floor).read()


def mode_of(stack: tuple[Opener, ...] | list[Opener], language: Language) -> str:
    """Return the mark of the string, comment or unfinished tag at the stack's end; "" in code or text."""
    if language.block_style != "tags":
        return stack[-1].mark if stack and stack[-1].mark in _code_tokens(language)[1] else ""
    for opener in reversed(stack):
        if opener.mark in _TAG_MODES:
            return opener.mark
        if opener.mark.startswith("<"):
            break
    return ""


class _Reader:
    def __init__(self, text: str, language: Language, stack: tuple[Opener, ...], floor: int) -> None:
        self.text = text
        self.language = language
        self.stack = list(stack)
        self.floor = floor
        self.strays: list[Stray] = []

    def read(self) -> Scan:
        position = 0
        while match := self.pattern().search(self.text, position):
            self.take(match)
            position = match.end()
        return Scan(tuple(self.stack), self.floor, tuple(self.strays))

    def pattern(self) -> re.Pattern[str]:
        raise NotImplementedError

    def take(self, match: re.Match[str]) -> None:
        raise NotImplementedError

    def open(self, mark: str, start: int, name: str = "") -> None:
        self.stack.append(Opener(mark, self.indent_at(start), name))

    def indent_at(self, offset: int) -> str:
        start = self.text.rfind("\n", 0, offset) + 1
        match = _INDENT.match(self.text, start, offset)
        return match.group() if match else ""

    def close(self, mark: str, match: re.Match[str]) -> Opener | None:
        """Close the innermost `mark` and everything inside it; a bracket never closes across a tag."""
        depth = len(self.stack) - 1
        while depth >= 0 and self.stack[depth].mark != mark:
            inner = self.stack[depth].mark
            depth = depth - 1 if mark not in "([{" or inner in "([{" else -1
        if depth < self.floor:
            start, end = match.span()
            indent = self.indent_at(start)
            first = self.text[max(start - len(indent) - 1, 0) : start - len(indent)] == "\n"
            self.strays.append(Stray(start, end, mark, depth, indent if first else None))
        if depth < 0:
            return None
        closed = self.stack[depth]
        self.drop_from(depth)
        return closed

    def drop_from(self, depth: int) -> None:
        del self.stack[depth:]
        self.floor = min(self.floor, depth)


class _CodeReader(_Reader):
    def pattern(self) -> re.Pattern[str]:
        code, ends = _code_tokens(self.language)
        return ends.get(self.stack[-1].mark, code) if self.stack else code

    def take(self, match: re.Match[str]) -> None:
        token = match.group()
        match match.lastgroup:
            case "open" | "bracket":
                self.open(token, match.start())
            case "close":
                self.close(PAIRS[token], match)
            case "end":
                self.close(self.stack[-1].mark, match)
            case "line_end":
                self.drop_from(len(self.stack) - 1)
            case _:
                pass


# A regular expression in JavaScript. It only stands where a value may stand; elsewhere the slash divides. It
# may be unfinished, because the line is still being generated.
_REGEX = (
    r"(?<=[(,=:\[!&|?{};])[ \t]*/(?![/*])"
    r"(?:\\(?:[^\n]|\Z)|\[(?:\\(?:[^\n]|\Z)|[^\]\\\n])*(?:\]|\Z)|[^/\\\n\[])+(?:/|\Z)"
)


@cache
def _code_tokens(language: Language) -> tuple[re.Pattern[str], dict[str, re.Pattern[str]]]:
    """Return patterns of the next token: in code, and, by opening mark, inside each string or comment."""
    openers: list[str] = []
    skipped = [r"\\."]
    ends: dict[str, re.Pattern[str]] = {}
    if language.block_comment:
        mark, end = language.block_comment
        openers.append(re.escape(mark))
        ends[mark] = re.compile(f"(?P<end>{re.escape(end)})")
    if language.line_comment:
        mark = language.line_comment
        # `#` begins a comment only after white space: `$#`, `${x#y}` and `a#b` are code.
        openers.append((r"(?<!\S)" if mark == "#" else "") + re.escape(mark))
        ends[mark] = re.compile(r"(?P<line_end>\n)")
    for mark in language.quotes:
        if mark == "/":
            skipped.append(_REGEX)
            continue
        openers.append(re.escape(mark))
        # A one-line string left open ends with its line, so that one apostrophe cannot hide the rest.
        line_end = r"|(?P<line_end>\n)" if mark in LINE_STRINGS else ""
        ends[mark] = re.compile(rf"\\.|(?P<end>{re.escape(mark)}){line_end}", re.DOTALL)
    if language.quotes and "'" not in language.quotes:
        skipped.append(
            r"(?<!\w)'[(){}\[\]]"
        )  # a character literal, as in Rust, whose second quote may not be generated yet
    closing = "".join(close for close, opening in PAIRS.items() if opening in language.brackets)
    opening = "".join(PAIRS[close] for close in closing)
    groups = ["|".join(skipped)]
    if openers:
        groups.append(f"(?P<open>{'|'.join(openers)})")
    if closing:
        groups.append(f"(?P<bracket>[{re.escape(opening)}])|(?P<close>[{re.escape(closing)}])")
    return re.compile("|".join(groups), re.DOTALL), ends


_NAME = r"[A-Za-z!?][\w.:-]*"
_BRACKETS = r"(?P<bracket>[(\[{])|(?P<close>[)\]}])"
_TAG_TEXT = re.compile(
    rf"(?P<comment><!--)|<(script|style)\b[^<]*>.*?</\2\s*>|</(?P<end_name>{_NAME})\s*>|<(?P<name>{_NAME})|{_BRACKETS}",
    re.DOTALL | re.IGNORECASE,
)
_TAG_MODES = {
    "<!--": re.compile(r"(?P<comment_end>-->)"),
    "<": re.compile(rf"=>|(?P<quote>[\"'])|(?P<void>/>)|(?P<tag_end>>)|(?P<abandon><)|{_BRACKETS}"),
    '"': re.compile(rf"(?P<quote_end>\")|{_BRACKETS}"),
    "'": re.compile(rf"(?P<quote_end>')|{_BRACKETS}"),
}


class _TagReader(_Reader):
    def pattern(self) -> re.Pattern[str]:
        return _TAG_MODES.get(mode_of(self.stack, self.language), _TAG_TEXT)

    def take(self, match: re.Match[str]) -> None:
        token, start = match.group(), match.start()
        match match.lastgroup:
            case "bracket" | "quote" | "comment":
                self.open(token, start)
            case "close":
                self.close(PAIRS[token], match)
            case "quote_end":
                self.close(token, match)
            case "comment_end":
                self.close("<!--", match)
            case "name":
                self.open("<", start, match.group("name"))
            case "end_name":
                self.close(f"<{match.group('end_name')}>", match)
            case "void":
                self.close("<", match)
            case "tag_end":
                tag = self.close("<", match)
                if tag and tag.name.lower() not in VOID_ELEMENTS:
                    self.stack.append(Opener(f"<{tag.name}>", tag.indent))
            case "abandon":
                # A new tag begins, so the tag before it was never finished: read this `<` again as text.
                self.abandon_tag(match)
            case _:
                pass

    def abandon_tag(self, match: re.Match[str]) -> None:
        depth = max(index for index, opener in enumerate(self.stack) if opener.mark == "<")
        self.drop_from(depth)
        if again := _TAG_TEXT.match(self.text, match.start()):
            self.take(again)
