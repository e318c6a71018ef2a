"""Cut at the end of a single-file component's block: `</script>` in a script, `<style>` after a template.

`</script>` is not a bracket of the language inside, so `closers` does not see it. A model that has seen many
components continues with the next block, which never belongs into the block around the cursor.
"""

import re

from acepilot.postprocess.context import FilterInput

_NEXT_BLOCK = re.compile(r"<(?:script|template|style)\b")
_PARTIAL = re.compile(r"<[/a-z]*$")


def cut(given: FilterInput) -> int | None:
    cursor = given.context.cursor
    if cursor.embedded:
        end = given.line.find(f"</{cursor.embedded}")
        if end >= 0:
            return given.line_start + end
    if _may_begin_block(given) and _NEXT_BLOCK.match(given.line):
        return given.line_start
    return None


def hold(given: FilterInput) -> int:
    if given.context.cursor.embedded or _may_begin_block(given):
        partial = _PARTIAL.search(given.line)
        if partial:
            return given.line_start + partial.start()
    return len(given.text)


def _may_begin_block(given: FilterInput) -> bool:
    """In Vue, blocks begin at the left margin; the text's first line continues the cursor's line instead."""
    return given.context.language.id == "vue" and given.line_start > 0
