"""The end of a single-file component's block: `</script>` in a script, a new `<style>` below a template.

What is inside `<script>` is another language, so its end is no bracket of that language; and a model that has
seen many components goes on with the next block. Neither is ever what the cursor's block needs.
"""

import re

from acepilot.postprocess.context import FilterInput

_NEXT_BLOCK = re.compile(r"<(?:script|template|style)\b")
_PARTIAL = re.compile(r"<[/a-z]*$")


def cut(draft: FilterInput) -> int | None:
    cursor = draft.context.cursor
    if cursor.embedded:
        end = draft.line.find(f"</{cursor.embedded}")
        if end >= 0:
            return draft.line_start + end
    if _may_begin_block(draft) and _NEXT_BLOCK.match(draft.line):
        return draft.line_start
    return None


def hold(draft: FilterInput) -> int:
    if draft.context.cursor.embedded or _may_begin_block(draft):
        partial = _PARTIAL.search(draft.line)
        if partial:
            return draft.line_start + partial.start()
    return len(draft.text)


def _may_begin_block(draft: FilterInput) -> bool:
    """In Vue, blocks begin at the left margin; the first line only ends what stands left of the cursor."""
    return draft.context.language.id == "vue" and draft.line_start > 0
