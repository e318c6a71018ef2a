"""A runner without a model: its next token follows from every token that it finds in a row."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from server.engine.scheduler.messages import Add, Failed, Progress
from server.engine.scheduler.sampling import Draw, choose, log_probs
from server.engine.scheduler.schedule import Generate, Score, StepLimits
from server.engine.scheduler.step import RowSlice
from server.engine.scheduler.worker import ServedModel, Worker

VOCABULARY = 24
END = 0
UNWRITTEN = -1
LETTERS = "_abcdefghijklmnopqrstuvw"


class FakeRunner:
    """`rows` hold tokens where a model's hold keys and values. `fails`: so many of the next steps."""

    vocabulary = VOCABULARY

    def __init__(self, slots: int = 3, slot_tokens: int = 160) -> None:
        self.slots = slots
        self.slot_tokens = slot_tokens
        self.rows = [[UNWRITTEN] * slot_tokens for _ in range(slots)]
        self.steps: list[list[RowSlice]] = []
        self.fails = 0

    def step(self, chunks: Sequence[RowSlice]) -> NDArray[np.float32]:
        self.steps.append(list(chunks))
        assert chunks
        assert len({chunk.slot for chunk in chunks}) == len(chunks)
        logits: list[NDArray[np.float32]] = []
        for chunk in chunks:
            row, end = self.rows[chunk.slot], chunk.start + len(chunk.token_ids)
            assert 0 <= chunk.logits <= len(chunk.token_ids) > 0
            assert end <= self.slot_tokens
            row[chunk.start :] = [
                *chunk.token_ids,
                *[UNWRITTEN] * (self.slot_tokens - end),
            ]  # stale from there
            logits += [logits_after(row[: at + 1]) for at in range(end - chunk.logits, end)]
        if self.fails:
            self.fails -= 1
            raise RuntimeError("out of memory, says the script\nand more that nobody wants to read")
        return np.array(logits, np.float32).reshape(-1, VOCABULARY)

    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        assert UNWRITTEN not in self.rows[source][:tokens]
        self.rows[target] = [*self.rows[source][:tokens], *[UNWRITTEN] * (self.slot_tokens - tokens)]


def logits_after(token_ids: Sequence[int]) -> NDArray[np.float32]:
    """float32 [V]. Mostly a habit of the last two tokens, so that drafts are often right."""
    assert UNWRITTEN not in token_ids
    seen = zlib.crc32(bytes(token_ids))
    logits = np.random.default_rng(seen).standard_normal(VOCABULARY, np.float32)
    logits[END] -= 2
    habit = 1 + (token_ids[-1] * 5 + sum(token_ids[-2:-1])) % 7
    logits[(seen >> 8) % VOCABULARY if seen % 8 == 0 else habit] += 5
    return logits


def alone(token_ids: list[int], task: Generate | Score, row_tokens: int = 160) -> tuple[str, list[float]]:
    """The text, or the scores, that a sequence must get, whatever runs beside it."""
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


def served(runner: FakeRunner, *, tokens: int = 24, drafts: int = 8, streams: int = 3) -> ServedModel:
    limits = StepLimits(tokens, drafts, streams)
    return ServedModel(runner, spell, frozenset({END}), limits, prompt_lookup=drafts > 0, about=None)


class Heard:
    """A worker over a fake runner, and what it has said of each sequence."""

    def __init__(self, model: ServedModel) -> None:
        self.worker = Worker(model, self._hear)
        self.texts: dict[int, str] = {}
        self.scores: dict[int, list[float]] = {}
        self.finishes: dict[int, str] = {}
        self.failures: dict[int, str] = {}

    def add(self, number: int, token_ids: list[int], task: Generate | Score) -> None:
        self.texts[number] = ""
        self.scores[number] = []
        self.worker.take(Add(number, token_ids, task))

    def run(self, steps: int = 10_000) -> None:
        while steps and self.worker.has_work:
            self.worker.step()
            steps -= 1

    def _hear(self, message: Progress | Failed) -> None:
        number = message.sequence or 0
        if isinstance(message, Failed):
            self.failures[number] = message.why
            return
        assert number not in self.finishes
        assert 0 <= message.kv_used_ratio <= 1
        self.texts[number] += message.delta.text
        self.scores[number] += message.log_probs
        if message.delta.finish:
            self.finishes[number] = message.delta.finish
