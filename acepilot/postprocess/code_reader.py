"""The lexer of programming languages: strings, comments, brackets, JavaScript's regular expressions."""

import re
from functools import cache

from acepilot.languages import Language
from acepilot.postprocess.reader import PAIRS, Reader, Scan

LINE_STRINGS = ('"', "'")

MAX_REGEX_CHARS = 500
"""Characters in which a regular expression in JavaScript must end. Longer ones are read as code."""

# A regular expression in JavaScript. It only stands where a value may stand; elsewhere the slash divides. It
# may be unfinished, because the line is still being generated.
_REGEX_START = r"(?P<slash>(?<=[(,=:\[!&|?{};])[ \t]*/(?![/*]))"
_REGEX_CONTENT = re.compile(
    r"(?:\\(?:[^\n]|\Z)|\[(?:\\(?:[^\n]|\Z)|[^\]\\\n])*+(?:\]|\Z)|[^/\\\n\[])++(?:/|\Z)"
)


@cache
def code_tokens(language: Language) -> tuple[re.Pattern[str], dict[str, re.Pattern[str]]]:
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
            skipped.append(_REGEX_START)
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


class CodeReader(Reader):
    def __init__(self, text: str, language: Language, before: Scan) -> None:
        super().__init__(text, language, before)
        self._code, self._ends = code_tokens(language)

    def pattern(self) -> re.Pattern[str]:
        return self._ends.get(self.mark_at(self.depth - 1), self._code)

    def take(self, match: re.Match[str]) -> int:
        token = match.group()
        match match.lastgroup:
            case "open" | "bracket":
                self.open(token, match.start())
            case "close":
                self.close(PAIRS[token], match)
            case "end":
                self.close(self.mark_at(self.depth - 1), match)
            case "line_end":
                self.drop_from(self.depth - 1)
            case "slash":
                return self._after_regex(match.end())
            case _:
                pass
        return match.end()

    def _after_regex(self, start: int) -> int:
        """Return the end of the regular expression with the content at `start`; `start` if there is none."""
        limit = min(start + MAX_REGEX_CHARS, len(self.text))
        content = _REGEX_CONTENT.match(self.text, start, limit)
        if content is None:
            return start
        is_whole = content.group().endswith("/") or content.end() == len(self.text)
        return content.end() if is_whole else start
