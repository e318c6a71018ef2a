"""Cut at a special token that leaks into the text (`<|endoftext|>`, `<fim_middle>`), or at a code fence."""

import re

from acepilot.postprocess.context import FilterInput

_MARK = re.compile(r"<[|｜][\w▁ .-]{1,40}[|｜]>|<fim_\w{3,10}>|<EOT>")
_MARK_IN_CODE = re.compile(rf"{_MARK.pattern}|</s>$")  # in tag languages `</s>` ends an element
_JSX = ("javascriptreact", "typescriptreact")
_PARTIAL = re.compile(r"<(?:[|｜][\w▁ .-]{0,40}[|｜]?|f(?:i(?:m(?:_\w{0,10})?)?)?|EO?T?|/s?)?$")
_CUT_SHORT = re.compile(r"<[|｜][\w▁ .-]{0,40}[|｜]?\s*$")
_FENCE = re.compile(r"\s*```")
_FENCED = ("markdown", "plaintext")


def cut(given: FilterInput) -> int | None:
    language = given.context.cursor.language
    has_tags = language.block_style == "tags" or language.id in _JSX
    mark = (_MARK if has_tags else _MARK_IN_CODE).search(given.line)
    if mark:
        return given.line_start + mark.start()
    if given.ended and (partial := _CUT_SHORT.search(given.line)):
        return given.line_start + partial.start()
    fences = given.context.language.id not in _FENCED and given.in_code
    return given.line_start if fences and _FENCE.match(given.line) else None


def hold(given: FilterInput) -> int:
    partial = _PARTIAL.search(given.line)
    if partial:
        return given.line_start + partial.start()
    return given.line_start if given.line.strip() and not given.line.strip(" \t`") else len(given.text)
