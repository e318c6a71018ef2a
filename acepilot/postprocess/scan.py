"""The lexer for stops and filters: `scan` finds out what a piece of code leaves open, and what it closes.

It reads fragments that no parser accepts (a half-written line, a document cut at the cursor). So it knows
only strings, comments, brackets and, in tag languages, tags. Everything that opens is an `Opener` on a stack:
a bracket, a string or comment mark, an unfinished tag (`<`), an element (`<li>`). So one rule, "what already
stands after the cursor is not closed again", serves all of them.
"""

from acepilot.languages import Language
from acepilot.postprocess.code_reader import CodeReader, code_tokens
from acepilot.postprocess.reader import BRACKETS, LONGEST_TOKEN, Opener, Scan
from acepilot.postprocess.tag_reader import TAG_MODES, TagReader


def scan(text: str, language: Language, stack: tuple[Opener, ...] = (), floor: int | None = None) -> Scan:
    """Scan `text`, which begins inside the openers of `stack`, outermost first.

    Openers from `floor` on count as opened by `text`; so a text can be scanned line by line.
    """
    return resume(text, language, Scan(stack, len(stack) if floor is None else floor))


def resume(text: str, language: Language, before: Scan) -> Scan:
    """Scan `text` on from where `before`, a scan of its beginning, ended."""
    return _reader(text, language, before).read(len(text))


def settle(text: str, language: Language, before: Scan) -> Scan:
    """Scan on, as `resume` does, but leave out the end of `text`, whose tokens more text could change."""
    return _reader(text, language, before).read(len(text) - LONGEST_TOKEN)


def mode_of(stack: tuple[Opener, ...], language: Language) -> str:
    """Return the mark of the string, comment or unfinished tag at the stack's end; "" in code or text."""
    if language.block_style != "tags":
        return stack[-1].mark if stack and stack[-1].mark in code_tokens(language)[1] else ""
    mark = next((opener.mark for opener in reversed(stack) if opener.mark not in BRACKETS), "")
    return mark if mark in TAG_MODES else ""


def _reader(text: str, language: Language, before: Scan) -> CodeReader | TagReader:
    return (TagReader if language.block_style == "tags" else CodeReader)(text, language, before)
