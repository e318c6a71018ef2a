"""A runner without a model: its next token follows from every token that it finds in a row."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from server.engine.base import EngineOptions, GenerationRequest
from server.engine.scheduler.messages import Opened, Score, SequenceFailed, StartSequence, StepDone
from server.engine.scheduler.sampling import Draw, choose, log_probs
from server.engine.scheduler.schedule import StepLimits
from server.engine.scheduler.step import RowSlice
from server.engine.scheduler.worker import ServedModel, Worker

VOCABULARY = 24
END = 0
UNWRITTEN = -1
LETTERS = "_abcdefghijklmnopqrstuvw"

Task = GenerationRequest | Score


def generation(
    max_tokens: int, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0
) -> GenerationRequest:
    """Return a request without text: a worker gets its prompt as token ids."""
    return GenerationRequest("", max_tokens, temperature, top_p, seed)


class FakeRunner:
    """A `Runner` whose `rows` hold tokens in place of keys and values. The next `fails` steps fail."""

    vocabulary = VOCABULARY

    def __init__(self, slots: int = 3, slot_tokens: int = 160) -> None:
        self.slots = slots
        self.slot_tokens = slot_tokens
        self.rows = [[UNWRITTEN] * slot_tokens for _ in range(slots)]
        self.steps: list[list[RowSlice]] = []
        self.fails = 0

    def step(self, row_slices: Sequence[RowSlice]) -> NDArray[np.float32]:
        self.steps.append(list(row_slices))
        assert row_slices
        assert len({row_slice.slot for row_slice in row_slices}) == len(row_slices)
        logits: list[NDArray[np.float32]] = []
        for row_slice in row_slices:
            row, end = self.rows[row_slice.slot], row_slice.end
            assert 0 <= row_slice.logits <= len(row_slice.token_ids) > 0
            assert end <= self.slot_tokens
            stale = [UNWRITTEN] * (self.slot_tokens - end)
            row[row_slice.start :] = [*row_slice.token_ids, *stale]
            logits += [logits_after(row[: at + 1]) for at in range(end - row_slice.logits, end)]
        if self.fails:
            self.fails -= 1
            raise RuntimeError("out of memory, says the script\nand more that nobody wants to read")
        return np.array(logits, np.float32).reshape(-1, VOCABULARY)

    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        assert UNWRITTEN not in self.rows[source][:tokens]
        self.rows[target] = [*self.rows[source][:tokens], *[UNWRITTEN] * (self.slot_tokens - tokens)]


def logits_after(token_ids: Sequence[int]) -> NDArray[np.float32]:
    """Return float32 [V]. They depend mostly on the last two tokens, so that drafts are often right."""
    assert UNWRITTEN not in token_ids
    seen = zlib.crc32(bytes(token_ids))
    logits = np.random.default_rng(seen).standard_normal(VOCABULARY, np.float32)
    logits[END] -= 2
    habit = 1 + (token_ids[-1] * 5 + sum(token_ids[-2:-1])) % 7
    logits[(seen >> 8) % VOCABULARY if seen % 8 == 0 else habit] += 5
    return logits


def alone(token_ids: list[int], task: Task, row_tokens: int = 160) -> tuple[str, list[float]]:
    """Return the text, or the scores, that a sequence must get, whatever runs beside it."""
    if isinstance(task, Score):
        begin = len(token_ids) - task.tokens
        wanted = np.array([logits_after(token_ids[:at]) for at in range(begin, len(token_ids))])
        return "", log_probs(wanted, token_ids[begin:])
    tokens = list(token_ids)
    numbers = np.random.default_rng(task.seed)
    while len(tokens) < min(len(token_ids) + task.max_tokens, row_tokens):
        draw = Draw(task.temperature, task.top_p, float(numbers.random())) if task.temperature else None
        tokens += choose(logits_after(tokens)[None], [draw])
        if tokens[-1] == END:
            break
    return spell(tokens[len(token_ids) :]), []


def spell(token_ids: list[int]) -> str:
    return "".join(LETTERS[token] for token in token_ids if token != END)


class ObservedWorker:
    """A worker over a fake runner, and everything that it has sent about each sequence."""

    def __init__(self, model: ServedModel, options: EngineOptions) -> None:
        self.worker = Worker(model, options, self._receive)
        self.texts: dict[int, str] = {}
        self.scores: dict[int, list[float]] = {}
        self.finishes: dict[int, str] = {}
        self.failures: dict[int, str] = {}

    def add(self, number: int, token_ids: list[int], task: Task) -> None:
        self.texts[number] = ""
        self.scores[number] = []
        self.worker.take(StartSequence(number, token_ids, task))

    def run(self, steps: int = 10_000) -> None:
        while steps and self.worker.schedule.has_work:
            self.worker.step()
            steps -= 1

    def _receive(self, message: StepDone | SequenceFailed) -> None:
        if isinstance(message, SequenceFailed):
            self.failures[message.number] = message.reason
            return
        assert 0 <= message.kv_used_ratio <= 1
        for progress in message.progress:
            number = progress.number
            assert number not in self.finishes
            self.texts[number] += progress.delta.text
            self.scores[number] += progress.log_probs
            if progress.delta.finish:
                self.finishes[number] = progress.delta.finish


def observed_worker(
    runner: FakeRunner, *, tokens: int = 24, drafts: int = 8, streams: int = 3, prefix_cache: bool = True
) -> ObservedWorker:
    opened = Opened("", runner.slot_tokens, frozenset())
    model = ServedModel(runner, spell, frozenset({END}), StepLimits(tokens, drafts), opened)
    options = EngineOptions(max_streams=streams, prompt_lookup=drafts > 0, prefix_cache=prefix_cache)
    return ObservedWorker(model, options)
