"""How much of a completion stands in the document already, for example because the user typed it."""

from collections.abc import Iterator

from acepilot.completion_cache import CLOSER_OF, suffix_head
from lsp.text.edits import shared_start

MAX_CLOSERS = 100
"""Closers in a row that an editor is expected to add by itself. Nested code has some ten."""


def standing_counts(text: str, suffix: str, here: str) -> Iterator[int]:
    """Yield each count, in ascending order, such that `here` is `text[:count]` and then `suffix`.

    Like `acepilot.completion_cache.same_suffix`, it compares the beginning of the suffix, and accepts closers
    before it that an editor may have added for `text[:count]`. A server may repeat the file, so that each
    count is possible: this takes linear time.
    """
    head = suffix_head(suffix)
    waiting: list[str] = []  # the closers that an editor may have added, the next one last
    for count in range(shared_start(here, text) + 1):
        if count:
            char = text[count - 1]
            if waiting and char == waiting[-1]:
                waiting.pop()
            elif char in CLOSER_OF:
                waiting.append(CLOSER_OF[char])
        added = 0
        for closer in waiting[: -MAX_CLOSERS - 1 : -1]:
            if not here.startswith(closer, count + added):
                break
            added += 1
        if any(_begins_with_head(here, start, head) for start in {count, count + added}):
            yield count


def _begins_with_head(here: str, start: int, head: str) -> bool:
    # The cheap comparison first: it fails for nearly all counts.
    return here.startswith(head, start) and suffix_head(here[start : start + len(head) + 1]) == head
