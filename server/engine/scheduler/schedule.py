"""Decides which tokens of which sequences a step computes, and takes in the step's result.

A sequence waits for a row of the KV cache, has its prompt read in slices, then gets one token per step, or
several where a draft was right. `plan` makes the next step; `settle` takes in the result for one sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from server.engine.base import TokenCounts
from server.engine.scheduler.kv_rows import COPY_TOKENS, Place, Row, Rows
from server.engine.scheduler.sequence import ScheduledSequence
from server.engine.scheduler.step import RowSlice

READING_SHARE = 4
"""At least 1/READING_SHARE of a step's tokens is reserved for prompts, however many sequences generate."""

STEPS_BETWEEN = 3
"""Steps without prompt tokens after a step with some, while other sequences generate: those wait for it. With
the starter on two cores, a step takes 270 ms with 256 prompt tokens, and 25 to 35 ms without."""


@dataclass(frozen=True)
class StepLimits:
    """The most `tokens` in a step, and the most `drafts` among them, for all sequences together."""

    tokens: int
    drafts: int


@dataclass(frozen=True)
class Part:
    """A sequence's slice of a step. The last `drafted` tokens of the slice are drafts."""

    sequence: ScheduledSequence
    row_slice: RowSlice
    drafted: int


class Schedule:
    """The sequences that wait and run, at most `max_streams` at once. A text ends after a token of `ends`."""

    def __init__(self, rows: Rows, limits: StepLimits, max_streams: int, ends: frozenset[int]) -> None:
        self._rows = rows
        self._limits = limits
        self._max_streams = max_streams
        self._ends = ends
        self._waiting: list[ScheduledSequence] = []
        self._steps_since_reading = STEPS_BETWEEN
        self.running: dict[ScheduledSequence, Row] = {}
        self.counts = TokenCounts()

    @property
    def has_work(self) -> bool:
        return bool(self._waiting or self.running)

    def add(self, sequence: ScheduledSequence) -> None:
        self._waiting.append(sequence)

    def remove(self, sequence: ScheduledSequence) -> None:
        """Remove a sequence that has ended or was cancelled. Its row keeps what was computed."""
        row = self.running.pop(sequence, None)
        if row is None:
            self._waiting.remove(sequence)
        else:
            self._rows.release(row)

    def remove_running(self) -> list[ScheduledSequence]:
        """Remove all sequences that have a row, after a step failed: the content of their rows is unknown."""
        failed = list(self.running)
        for sequence in failed:
            self.running[sequence].tokens = []
            self.remove(sequence)
        return failed

    def plan(self) -> tuple[list[Place], list[Part]]:
        """Return the next step: new places, to be filled one after another, then parts to compute at once.

        Each sequence that generates gets a token and drafts; the other tokens are of prompts.
        """
        places = self._admit()
        generating = [sequence for sequence in self.running if sequence.is_generating]
        reading = [sequence for sequence in self.running if not sequence.is_generating]
        parts = [self._part(sequence, 1) for sequence in generating]
        self._steps_since_reading += 1
        if not reading or (generating and self._steps_since_reading <= STEPS_BETWEEN):
            return places, parts
        self._steps_since_reading = 0
        taken = sum(len(part.row_slice.token_ids) for part in parts)
        budget = max(self._limits.tokens - taken, self._limits.tokens // READING_SHARE)
        parts += [self._part(sequence, tokens) for sequence, tokens in _shares(reading, budget)]
        return places, parts

    def settle(self, part: Part, choices: Sequence[int]) -> list[int]:
        """Return a sequence's new tokens, given the model's choice after each position with logits."""
        sequence, row_slice = part.sequence, part.row_slice
        self.running[sequence].tokens[row_slice.start :] = row_slice.token_ids
        self.counts.computed_tokens += len(row_slice.token_ids)
        self.counts.drafted_tokens += part.drafted
        known = len(row_slice.token_ids) - part.drafted
        sequence.computed = row_slice.start + known
        new_tokens: list[int] = []
        for choice, drafted in zip_longest(choices, row_slice.token_ids[known:]):
            new_tokens.append(choice)
            if choice != drafted or choice in self._ends:
                break
        if not new_tokens:
            sequence.finish = "stop" if sequence.computed == sequence.end else None  # all is scored
            return new_tokens
        accepted = len(new_tokens) - 1  # the last token was chosen, but not computed
        self.counts.accepted_tokens += accepted
        sequence.computed += accepted
        sequence.tokens += new_tokens
        if sequence.lookup is not None:
            if part.drafted:
                sequence.lookup.judge(part.drafted, accepted)
            sequence.lookup.extend(new_tokens)
        if new_tokens[-1] in self._ends:
            sequence.finish = "stop"
        elif len(sequence.tokens) >= sequence.end:
            sequence.finish = "length"
        return new_tokens

    def _admit(self) -> list[Place]:
        """Give rows to waiting sequences, first come, first served."""
        places: list[Place] = []
        for sequence in list(self._waiting):
            if len(self.running) == self._max_streams:
                break
            if self._is_being_read(sequence):
                continue
            prompt = sequence.tokens[: sequence.first_logits]
            place = self._rows.take(prompt, sequence.cache_salt)
            if place is None:
                break
            self.counts.sequences += 1
            self.counts.prompt_tokens += len(prompt)
            self.counts.reused_tokens += place.reused
            sequence.computed = place.reused
            self._waiting.remove(sequence)
            self.running[sequence] = place.row
            places.append(place)
        return places

    def _is_being_read(self, sequence: ScheduledSequence) -> bool:
        """Return whether another sequence is computing the prompt tokens that `sequence` needs next.

        Waiting and copying them is better: so the candidates of one request compute their prompt once.
        """
        if not self._rows.prefix_cache:
            return False
        for other in self.running:
            if other.cache_salt != sequence.cache_salt:
                continue
            soon = other.computed + COPY_TOKENS
            if soon < min(len(other.tokens), sequence.first_logits):
                shared = sequence.tokens[:soon] == other.tokens[:soon]
                if shared and self._rows.longest_kept(sequence.tokens, sequence.cache_salt) < soon:
                    return True
        return False

    def _part(self, sequence: ScheduledSequence, tokens: int) -> Part:
        start, end = sequence.computed, sequence.computed + tokens
        token_ids = sequence.tokens[start:end]
        logits = max(0, end - max(start, sequence.first_logits))
        drafts: list[int] = []
        if sequence.lookup is not None and end == len(sequence.tokens):
            limit = min(self._limits.drafts // len(self.running), sequence.end - end - 1)
            drafts = sequence.lookup.draft(limit) if limit > 0 else []
        slot = self.running[sequence].slot
        return Part(sequence, RowSlice(slot, start, token_ids + drafts, logits + len(drafts)), len(drafts))


def _shares(reading: list[ScheduledSequence], budget: int) -> list[tuple[ScheduledSequence, int]]:
    """Divide `budget` prompt tokens among sequences.

    The first gets half, so that it cannot starve; those nearest to their first token get the rest.
    """
    shares = dict.fromkeys(reading, 0)
    if reading:
        shares[reading[0]] = min(reading[0].unread, -(-budget // 2))
        budget -= shares[reading[0]]
    for sequence in sorted(reading, key=lambda sequence: sequence.unread):
        more = min(sequence.unread - shares[sequence], budget)
        shares[sequence] += more
        budget -= more
    return [(sequence, tokens) for sequence, tokens in shares.items() if tokens]
