"""The lexer of HTML, Vue, Svelte and XML: elements, unfinished tags, attribute values, comments, brackets."""

import re

from acepilot.languages import Language
from acepilot.postprocess.reader import PAIRS, Opener, Reader, Scan

VOID_ELEMENTS = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track")
) | {"wbr", "!doctype", "?xml"}

_NAME = r"[A-Za-z!?][\w.:-]*"
_BRACKET = r"(?P<bracket>[(\[{])|(?P<close>[)\]}])"
_TAG_TEXT = re.compile(
    rf"(?P<comment><!--)|<(?P<raw>(?:script|style)\b[\w.:-]*)|</(?P<end_name>{_NAME})\s*>|<(?P<name>{_NAME})|{_BRACKET}",
    re.IGNORECASE,
)
_RAW_ENDS = {tag: re.compile(rf"</{tag}\s*>", re.IGNORECASE) for tag in ("script", "style")}
TAG_MODES = {
    "<!--": re.compile(r"(?P<comment_end>-->)"),
    "<": re.compile(rf"=>|(?P<quote>[\"'])|(?P<void>/>)|(?P<tag_end>>)|(?P<abandon><)|{_BRACKET}"),
    '"': re.compile(rf"(?P<quote_end>\")|{_BRACKET}"),
    "'": re.compile(rf"(?P<quote_end>')|{_BRACKET}"),
}


class TagReader(Reader):
    def __init__(self, text: str, language: Language, before: Scan) -> None:
        super().__init__(text, language, before)
        self._never_ends: set[str] = set()  # tags whose end is nowhere in the rest of the text

    def pattern(self) -> re.Pattern[str]:
        return TAG_MODES.get(self.mark_at(self.innermost("")), _TAG_TEXT)

    def take(self, match: re.Match[str]) -> int:
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
            case "raw":
                return self._after_raw(match)
            case "name":
                self.open("<", start, match.group("name"))
            case "end_name":
                self.close(f"<{match.group('end_name')}>", match)
            case "void":
                self.close("<", match)
            case "tag_end":
                tag = self.close("<", match)
                if tag and tag.name.lower() not in VOID_ELEMENTS:
                    self.push(Opener(f"<{tag.name}>", tag.indent))
            case "abandon":
                # A new tag begins, so the tag before it was never finished: read this `<` again as text.
                self.drop_from(self.innermost("<"))
                if again := _TAG_TEXT.match(self.text, start):
                    return self.take(again)
            case _:
                pass
        return match.end()

    def _after_raw(self, match: re.Match[str]) -> int:
        """Skip <script> and <style> with their content if their end follows, else open the tag."""
        tag = "script" if match.group("raw").lower().startswith("script") else "style"
        next_tag = self.text.find("<", match.end())
        if next_tag >= 0 and tag not in self._never_ends and ">" in self.text[match.end() : next_tag]:
            if end := _RAW_ENDS[tag].search(self.text, next_tag):
                return end.end()
            self._never_ends.add(tag)
        self.open("<", match.start(), match.group("raw"))
        return match.end()
