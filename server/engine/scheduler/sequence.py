"""A sequence in the worker: what was asked for, how far its computation has come, and what comes out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from acepilot.errors import EngineFailed
from server.engine.scheduler.messages import Score, StartSequence
from server.engine.scheduler.prompt_lookup import PromptLookup
from server.engine.scheduler.sampling import GREEDY_BELOW, Draw, Logits, log_probs
from server.engine.scheduler.step import RowSlice


class TextStream:
    """Tokens in, text out. A character whose bytes span several tokens is held back until it is complete.

    Tokens are decoded together with those before them, at first the prompt's last token (`before`), because
    some tokenizers drop a space at the beginning of a text.
    """

    def __init__(self, decode: Callable[[list[int]], str], before: int) -> None:
        self._decode = decode
        self._known = [before]
        self._new: list[int] = []

    def add(self, token_ids: list[int], *, last: bool) -> str:
        self._new += token_ids
        known = self._decode(self._known)
        text = self._decode(self._known + self._new)
        if len(text) <= len(known) or (text.endswith("\ufffd") and not last):
            return ""
        self._known, self._new = self._new, []
        return text[len(known) :].rstrip("\ufffd") if last else text[len(known) :]


@dataclass(eq=False)
class ScheduledSequence:
    """A sequence whose `tokens` are the prompt and what was generated; the first `computed` are in its row.

    It needs logits after each position from `first_logits` on, and ends when it has `end` tokens. Without
    `random`, the most probable tokens are chosen.
    """

    start: StartSequence
    tokens: list[int]
    first_logits: int
    end: int
    text: TextStream
    lookup: PromptLookup | None = None
    random: np.random.Generator | None = None
    computed: int = 0
    finish: Literal["stop", "length"] | None = None

    @property
    def number(self) -> int:
        return self.start.number

    @property
    def cache_salt(self) -> str:
        return self.start.task.cache_salt

    @property
    def unread(self) -> int:
        return len(self.tokens) - self.computed

    @property
    def is_generating(self) -> bool:
        return self.computed > self.first_logits and self.end > len(self.tokens)

    def draws(self, count: int) -> list[Draw | None]:
        """Return how to choose a token from each of `count` logits."""
        task = self.start.task
        if isinstance(task, Score) or self.random is None:
            return [None] * count
        return [Draw(task.temperature, task.top_p, float(self.random.random())) for _ in range(count)]

    def scores(self, row_slice: RowSlice, logits: Logits) -> list[float]:
        """Return the log probabilities of the given tokens that follow the positions with logits."""
        if not isinstance(self.start.task, Score) or not row_slice.logits:
            return []
        end = row_slice.end + 1
        return log_probs(logits, self.start.token_ids[end - row_slice.logits : end])

    def new_text(self, new_tokens: list[int]) -> str:
        """Return the text of tokens that `tokens` has already. An end mark has no text."""
        shown = new_tokens[:-1] if self.finish == "stop" else new_tokens
        return self.text.add(shown, last=self.finish is not None)


def new_sequence(
    start: StartSequence, decode: Callable[[list[int]], str], row_tokens: int, *, prompt_lookup: bool
) -> ScheduledSequence:
    """Return the sequence that `start` asks for. Raises EngineFailed if it does not fit `row_tokens`.

    Only greedy sequences get drafts: a draft is right if it is what the model would have chosen.
    """
    task = start.task
    tokens = start.token_ids[:-1] if isinstance(task, Score) else list(start.token_ids)
    room = row_tokens if isinstance(task, Score) else row_tokens - 1
    if len(tokens) > room:
        raise EngineFailed(
            f"The prompt has {len(start.token_ids)} tokens; prompt and completion together may have "
            f"{row_tokens} tokens in this engine. Send a shorter prompt."
        )
    text = TextStream(decode, start.token_ids[-1])
    if isinstance(task, Score):
        return ScheduledSequence(start, tokens, len(tokens) - task.tokens, len(tokens), text)
    end = min(len(tokens) + task.max_tokens, row_tokens)
    sequence = ScheduledSequence(start, tokens, len(tokens) - 1, end, text)
    if task.temperature >= GREEDY_BELOW:
        sequence.random = np.random.default_rng(task.seed)
    elif prompt_lookup:
        sequence.lookup = PromptLookup()
        sequence.lookup.extend(tokens)
    return sequence
