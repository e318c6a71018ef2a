"""Which tokens of which sequence a step computes, and what follows from its result; worker.py asks it.

A sequence waits for a row of the KV cache, has its prompt read in pieces, then gets its tokens one step at a
time, or several where a draft was right. `plan` makes the next step, `settle` takes in what came of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Literal

from acepilot.errors import EngineFailed
from server.engine.scheduler.prompt_lookup import PromptLookup
from server.engine.scheduler.slots import COPY_TOKENS, Copy, Row, Rows
from server.engine.scheduler.step import RowSlice

READING_SHARE = 4
"""Prompts get at least 1 of so many tokens of a step, however many sequences get their next token in it."""

STEPS_BETWEEN = 3
"""Steps without prompts after one that read some, while others generate: these wait for all of a step.
Measured with the starter on two cores: a step of 256 prompt tokens takes 270 ms, one without 25 to 35."""


@dataclass(frozen=True)
class StepLimits:
    """`tokens` of a step, `drafts` among them (shared by all sequences), `streams` that share it."""

    tokens: int
    drafts: int
    streams: int


@dataclass(frozen=True)
class Generate:
    """At most `max_tokens` more. `temperature` 0 is greedy."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Score:
    """No new text: how probable are the last `tokens` of those given?"""

    tokens: int


@dataclass(eq=False)
class ScheduledSequence:
    """`tokens` to compute: the prompt, then what was generated; the first `computed` of them are in its row.

    Logits are wanted after each position from `first_logits` on. It is over at `end` tokens.
    """

    number: int
    tokens: list[int]
    first_logits: int
    end: int
    lookup: PromptLookup | None = None
    computed: int = 0
    finish: Literal["stop", "length"] | None = None

    @property
    def unread(self) -> int:
        return len(self.tokens) - self.computed

    @property
    def is_generating(self) -> bool:
        return self.computed > self.first_logits and self.end > len(self.tokens)


def scheduled(
    number: int, token_ids: list[int], task: Generate | Score, row_tokens: int, *, prompt_lookup: bool
) -> ScheduledSequence:
    """Raises EngineFailed when `token_ids` do not fit a row of `row_tokens`.

    Only greedy text is drafted: there a draft is right when it is what the model would have chosen.
    """
    tokens = token_ids[:-1] if isinstance(task, Score) else list(token_ids)
    room = row_tokens if isinstance(task, Score) else row_tokens - 1
    if len(tokens) > room:
        raise EngineFailed(
            f"The prompt has {len(token_ids)} tokens, and this engine has room for {row_tokens}, the "
            "completion's included: send a shorter one."
        )
    if isinstance(task, Score):
        return ScheduledSequence(number, tokens, len(tokens) - task.tokens, len(tokens))
    lookup = PromptLookup() if prompt_lookup and not task.temperature else None
    if lookup is not None:
        lookup.extend(tokens)
    end = min(len(tokens) + task.max_tokens, row_tokens)
    return ScheduledSequence(number, tokens, len(tokens) - 1, end, lookup)


@dataclass(frozen=True)
class Part:
    """A sequence's chunk of a step; the last `drafted` of its tokens are guesses."""

    sequence: ScheduledSequence
    chunk: RowSlice
    drafted: int


@dataclass(frozen=True)
class Step:
    """`copies` in their order, then `parts` at once."""

    copies: list[Copy] = field(default_factory=list[Copy])
    parts: list[Part] = field(default_factory=list[Part])


class Schedule:
    """`ends`: tokens after which a text is over."""

    def __init__(self, rows: Rows, limits: StepLimits, ends: frozenset[int]) -> None:
        self._rows = rows
        self._limits = limits
        self._ends = ends
        self._waiting: list[ScheduledSequence] = []
        self._running: dict[ScheduledSequence, Row] = {}
        self._steps_since_reading = STEPS_BETWEEN

    @property
    def has_work(self) -> bool:
        return bool(self._waiting or self._running)

    def add(self, sequence: ScheduledSequence) -> None:
        self._waiting.append(sequence)

    def remove(self, sequence: ScheduledSequence) -> None:
        """It has ended, or nobody wants it any more. Its row keeps what was computed."""
        row = self._running.pop(sequence, None)
        if row is None:
            self._waiting.remove(sequence)
        else:
            self._rows.release(row)

    def remove_running(self) -> list[ScheduledSequence]:
        """All that have a row, after a step that failed: nobody knows what is in their rows now."""
        failed = list(self._running)
        for sequence in failed:
            self._running[sequence].tokens = []
            self.remove(sequence)
        return failed

    def plan(self) -> Step:
        """Those that generate come first, each with its drafts; what is left of the step reads prompts, if it
        is their turn."""
        copies = self._admit()
        generating = [sequence for sequence in self._running if sequence.is_generating]
        reading = [sequence for sequence in self._running if not sequence.is_generating]
        parts = [self._part(sequence, 1) for sequence in generating]
        self._steps_since_reading += 1
        if not reading or (generating and self._steps_since_reading <= STEPS_BETWEEN):
            return Step(copies, parts)
        self._steps_since_reading = 0
        taken = sum(len(part.chunk.token_ids) for part in parts)
        budget = max(self._limits.tokens - taken, self._limits.tokens // READING_SHARE)
        parts += [self._part(sequence, tokens) for sequence, tokens in _shares(reading, budget)]
        return Step(copies, parts)

    def settle(self, part: Part, choices: Sequence[int]) -> list[int]:
        """The sequence's new tokens, of those that the model chose after each of the chunk's positions."""
        sequence, chunk = part.sequence, part.chunk
        self._running[sequence].tokens[chunk.start :] = chunk.token_ids
        known = len(chunk.token_ids) - part.drafted
        sequence.computed = chunk.start + known
        fresh: list[int] = []
        for choice, drafted in zip_longest(choices, chunk.token_ids[known:]):
            fresh.append(choice)
            if choice != drafted or choice in self._ends:
                break
        if not fresh:
            sequence.finish = "stop" if sequence.computed == sequence.end else None  # a text to score
            return fresh
        if part.drafted and sequence.lookup is not None:
            sequence.lookup.judge(part.drafted, len(fresh) - 1)
        sequence.computed += len(fresh) - 1  # the last one was chosen only
        sequence.tokens += fresh
        if sequence.lookup is not None:
            sequence.lookup.extend(fresh)
        if fresh[-1] in self._ends:
            sequence.finish = "stop"
        elif len(sequence.tokens) >= sequence.end:
            sequence.finish = "length"
        return fresh

    def _admit(self) -> list[Copy]:
        """Gives rows to those that wait, first come, first served."""
        copies: list[Copy] = []
        for sequence in list(self._waiting):
            if len(self._running) == self._limits.streams:
                break
            if self._is_being_read(sequence):
                continue
            place = self._rows.take(sequence.tokens[: sequence.first_logits])
            if place is None:
                break
            sequence.computed = place.reused
            self._waiting.remove(sequence)
            self._running[sequence] = place.row
            if place.copy is not None:
                copies.append(place.copy)
        return copies

    def _is_being_read(self, sequence: ScheduledSequence) -> bool:
        """Another one is computing what this one needs next: it is copied as soon as it is there.

        So the candidates of one request read their prompt once.
        """
        for other in self._running:
            soon = other.computed + COPY_TOKENS
            if soon < min(len(other.tokens), sequence.first_logits):
                shared = sequence.tokens[:soon] == other.tokens[:soon]
                if shared and self._rows.longest_kept(sequence.tokens) < soon:
                    return True
        return False

    def _part(self, sequence: ScheduledSequence, tokens: int) -> Part:
        start, end = sequence.computed, sequence.computed + tokens
        token_ids = sequence.tokens[start:end]
        logits = max(0, end - max(start, sequence.first_logits))
        drafts: list[int] = []
        if sequence.lookup is not None and end == len(sequence.tokens):
            most = min(self._limits.drafts // len(self._running), sequence.end - end - 1)
            drafts = sequence.lookup.draft(most) if most > 0 else []
        slot = self._running[sequence].slot
        return Part(sequence, RowSlice(slot, start, token_ids + drafts, logits + len(drafts)), len(drafts))


def _shares(reading: list[ScheduledSequence], budget: int) -> list[tuple[ScheduledSequence, int]]:
    """How much of each prompt is read: half of `budget` for who came first, so that nobody starves; the rest
    for whoever is nearest to its first token."""
    shares = dict.fromkeys(reading, 0)
    if reading:
        shares[reading[0]] = min(reading[0].unread, -(-budget // 2))
        budget -= shares[reading[0]]
    for sequence in sorted(reading, key=lambda sequence: sequence.unread):
        more = min(sequence.unread - shares[sequence], budget)
        shares[sequence] += more
        budget -= more
    return [(sequence, tokens) for sequence, tokens in shares.items() if tokens]
