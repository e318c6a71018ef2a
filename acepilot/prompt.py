"""Compose a model's prompt from the text around the cursor, for the server and the evaluation.

`compose` gives prefix, suffix and snippets their shares of a token budget; `fim.render` lays them out. The
prefix is clipped from the left and the suffix from the right. The start of a clipped prefix moves in steps of
`CLIP_STEP_LINES` lines, counted from the start of the text: so the prompt's beginning stays the same while a
user types, and the engine's KV cache keeps it.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from acepilot.fim import FimFormat, break_special_tokens, render, render_own_path, render_snippet
from acepilot.protocol import Snippet
from acepilot.trail import PromptReport

CLIP_STEP_LINES = 32
"""Shorter steps would discard the KV cache more often; longer ones would cut more of the prefix."""

SUFFIX_SHARE = 0.1
"""The suffix's share of the budget.

The suffix follows the prefix, so the KV cache never keeps it: each request reads it.
"""

SNIPPET_SHARE = 0.25
"""The snippets' share of the budget. They get only what the prefix leaves over."""

MAX_CHARS_PER_TOKEN = 16
"""Real code has fewer characters in a token; this limits how much is tokenised before the first cut."""

SENTINEL_TOKENS = 16
"""Tokens reserved for the sentinels, in addition to the budget."""

CountTokens = Callable[[str], int]


@dataclass(frozen=True)
class ComposedPrompt:
    """`text` is all that the model gets; `prefix`, `suffix` and `snippets` are the parts that fitted.

    `report` says how many tokens the parts have, and what was left out.
    """

    text: str
    prefix: str
    suffix: str
    snippets: tuple[Snippet, ...]
    report: PromptReport


def compose(
    prefix: str,
    suffix: str,
    snippets: Sequence[Snippet] = (),
    *,
    path: str = "",
    comment: str = "#",
    fim: FimFormat | None,
    special_tokens: Collection[str],
    budget_tokens: int,
    count_tokens: CountTokens,
) -> ComposedPrompt:
    """Break up special tokens in the user's texts, fit the texts into the budget, and render them.

    `fim` is the model's format; if the suffix is only white space, neither of the two is used. The suffix
    gets at most `SUFFIX_SHARE`, and the prefix all the rest, at least one token. The snippets, with the
    file's own `path`, get what the prefix leaves over, at most `SNIPPET_SHARE`.
    """

    def clean(text: str) -> str:
        return break_special_tokens(text, special_tokens)

    # Tokenising a whole repository would be slow: snippets that cannot fit are left out by their length.
    snippet_budget = int(budget_tokens * SNIPPET_SHARE)
    recent, _ = _newest_within(snippets, snippet_budget * MAX_CHARS_PER_TOKEN, lambda item: len(item.text))
    cleaned = [Snippet(path=clean(snippet.path), text=clean(snippet.text)) for snippet in recent]
    prefix, suffix, path = clean(prefix), clean(suffix), clean(path)
    if not suffix.strip():
        fim = None
    if fim is None:
        suffix = ""
    suffix_budget = int(budget_tokens * SUFFIX_SHARE)
    suffix_kept, suffix_tokens = _largest_that_fits(
        suffix[: suffix_budget * MAX_CHARS_PER_TOKEN], suffix_budget, count_tokens, from_left=False
    )
    prefix_kept, prefix_tokens = _clip_left(prefix, max(1, budget_tokens - suffix_tokens), count_tokens)
    room = min(snippet_budget, budget_tokens - suffix_tokens - prefix_tokens)
    name_tokens = count_tokens(render_own_path(fim, path)) if cleaned else 0
    kept, snippet_tokens = _newest_within(
        cleaned, room - name_tokens, lambda snippet: count_tokens(render_snippet(fim, snippet, comment))
    )
    dropped_chars = len(prefix) - len(prefix_kept) + len(suffix) - len(suffix_kept)
    report = PromptReport(
        prefix_tokens=prefix_tokens,
        suffix_tokens=suffix_tokens,
        snippet_tokens=snippet_tokens + name_tokens if kept else 0,
        snippets_used=len(kept),
        clipped=dropped_chars > 0,
        dropped_chars=dropped_chars,
        fim=fim.name if fim else None,
    )
    text = render(fim, prefix_kept, suffix_kept, kept, path=path, comment=comment)
    return ComposedPrompt(text, prefix_kept, suffix_kept, kept, report)


def _clip_left(text: str, budget: int, count_tokens: CountTokens) -> tuple[str, int]:
    window = text[-budget * MAX_CHARS_PER_TOKEN :]
    if len(window) == len(text) and (tokens := count_tokens(text)) <= budget:
        return text, tokens
    starts = _line_steps(text, len(text) - len(window))
    first = bisect_left(starts, True, key=lambda start: count_tokens(text[start:]) <= budget)
    if first < len(starts):
        kept = text[starts[first] :]
        return kept, count_tokens(kept)
    # Even the last lines do not fit (minified code): cut within a line.
    return _largest_that_fits(window, budget, count_tokens, from_left=True)


def _line_steps(text: str, at_least: int) -> list[int]:
    """Return the offsets from `at_least` on of every `CLIP_STEP_LINES`-th line of `text`, in order."""
    offsets: list[int] = []
    offset, line = 0, 0
    while (newline := text.find("\n", offset)) != -1:
        offset, line = newline + 1, line + 1
        if line % CLIP_STEP_LINES == 0 and offset >= at_least and offset < len(text):
            offsets.append(offset)
    return offsets


def _largest_that_fits(
    text: str, budget: int, count_tokens: CountTokens, *, from_left: bool
) -> tuple[str, int]:
    """Return the longest end (`from_left`) or start of `text` within `budget` tokens, and its tokens."""
    if (tokens := count_tokens(text)) <= budget:
        return text, tokens
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        piece = text[-middle:] if from_left else text[:middle]
        low, high = (middle, high) if count_tokens(piece) <= budget else (low, middle)
    piece = (text[-low:] if from_left else text[:low]) if low else ""
    return piece, count_tokens(piece)


def _newest_within(
    snippets: Sequence[Snippet], room: int, size_of: Callable[[Snippet], int]
) -> tuple[tuple[Snippet, ...], int]:
    """Return the newest snippets that fit in `room`, the oldest first, and their size."""
    kept: list[Snippet] = []
    used = 0
    for snippet in reversed(snippets):
        size = size_of(snippet)
        if used + size > room:
            break
        kept.append(snippet)
        used += size
    return tuple(reversed(kept)), used
