"""A model's own marks that leak into its text: `<|endoftext|>`, `<fim_middle>`, a fence around code."""

import re

from acepilot.postprocess.context import FilterInput

_MARK = re.compile(r"<[|｜][\w▁ .-]{1,40}[|｜]>|<fim_\w{3,10}>|<EOT>")
_MARK_IN_CODE = re.compile(rf"{_MARK.pattern}|</s>$")  # among tags, that ends an element
_JSX = ("javascriptreact", "typescriptreact")
_PARTIAL = re.compile(r"<(?:[|｜][\w▁ .-]{0,40}[|｜]?|f(?:i(?:m(?:_\w{0,10})?)?)?|EO?T?|/s?)?$")
_CUT_SHORT = re.compile(r"<[|｜][\w▁ .-]{0,40}[|｜]?\s*$")
_FENCE = re.compile(r"\s*```")
_FENCED = ("markdown", "plaintext")


def cut(draft: FilterInput) -> int | None:
    language = draft.context.cursor.language
    has_tags = language.block_style == "tags" or language.id in _JSX
    mark = (_MARK if has_tags else _MARK_IN_CODE).search(draft.line)
    if mark:
        return draft.line_start + mark.start()
    if draft.ended and (partial := _CUT_SHORT.search(draft.line)):
        return draft.line_start + partial.start()
    fences = draft.context.language.id not in _FENCED and draft.in_code
    return draft.line_start if fences and _FENCE.match(draft.line) else None


def hold(draft: FilterInput) -> int:
    partial = _PARTIAL.search(draft.line)
    if partial:
        return draft.line_start + partial.start()
    return draft.line_start if draft.line.strip() and not draft.line.strip(" \t`") else len(draft.text)
