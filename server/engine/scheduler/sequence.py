"""A sequence in the worker: what was asked for, and how far its computation has come."""

from dataclasses import dataclass
from typing import Literal

from acepilot.errors import EngineFailed
from server.engine.scheduler.messages import Score, StartSequence
from server.engine.scheduler.prompt_lookup import PromptLookup
from server.engine.scheduler.sampling import GREEDY_BELOW


@dataclass(eq=False)
class ScheduledSequence:
    """A sequence whose `tokens` are the prompt and what was generated; the first `computed` are in its row.

    It needs logits after each position from `first_logits` on, and ends when it has `end` tokens.
    """

    start: StartSequence
    tokens: list[int]
    first_logits: int
    end: int
    lookup: PromptLookup | None = None
    computed: int = 0
    finish: Literal["stop", "length"] | None = None

    @property
    def number(self) -> int:
        return self.start.number

    @property
    def unread(self) -> int:
        return len(self.tokens) - self.computed

    @property
    def is_generating(self) -> bool:
        return self.computed > self.first_logits and self.end > len(self.tokens)


def new_sequence(start: StartSequence, row_tokens: int, *, prompt_lookup: bool) -> ScheduledSequence:
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
    if isinstance(task, Score):
        return ScheduledSequence(start, tokens, len(tokens) - task.tokens, len(tokens))
    lookup = PromptLookup() if prompt_lookup and task.temperature < GREEDY_BELOW else None
    if lookup is not None:
        lookup.extend(tokens)
    end = min(len(tokens) + task.max_tokens, row_tokens)
    return ScheduledSequence(start, tokens, len(tokens) - 1, end, lookup)
