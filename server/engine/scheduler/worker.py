"""The process that owns a model and steps it for all sequences at once; the engine's `StepLoop` talks to it.

It takes in new sequences, makes one step, and sends each its tokens; so a sequence that is closed leaves
before the next step. Either end's closing of the pipe ends the process. What model it is, and by which
library, only the function knows that opens it.
"""

import contextlib
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import structlog

from acepilot.errors import EngineFailed
from server.engine.base import Delta
from server.engine.scheduler.messages import Add, Close, Failed, Opened, Progress
from server.engine.scheduler.sampling import Draw, Logits, choose, log_probs
from server.engine.scheduler.schedule import (
    Generate,
    Part,
    Schedule,
    ScheduledSequence,
    Score,
    StepLimits,
    scheduled,
)
from server.engine.scheduler.slots import Rows
from server.engine.scheduler.step import Runner

_log = structlog.get_logger()

FAILURES_IN_A_ROW = 3
"""After so many failed steps a library will not recover (a CUDA error stays): the process ends, and the
engine starts another."""


@dataclass(frozen=True)
class ServedModel:
    """An open model. `decode` leaves out special tokens; `ends` are those after which a text is over.

    `about` is for the engine's own end in the parent.
    """

    runner: Runner
    decode: Callable[[list[int]], str]
    ends: frozenset[int]
    limits: StepLimits
    prompt_lookup: bool
    about: Any


def serve(pipe: Connection, open_model: Callable[[], ServedModel], log_level: int) -> None:
    """The process's whole life; returns when the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(log_level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            model = open_model()
        except Exception as error:  # told to the parent, whatever it is
            pipe.send(Failed(None, _in_a_line(error)))
            return
        pipe.send(Opened(model.about))
        worker = Worker(model, pipe.send)
        while worker.failures < FAILURES_IN_A_ROW:
            while pipe.poll(0 if worker.has_work else None):
                message: Add | Close | None = pipe.recv()
                if message is None:
                    return
                worker.take(message)
            worker.step()


class Worker:
    """Everything but the pipe: what it has to say goes to `send`."""

    def __init__(self, model: ServedModel, send: Callable[[Progress | Failed], None]) -> None:
        self._model = model
        self._send = send
        self._rows = Rows(model.runner.slots)
        self._schedule = Schedule(self._rows, model.limits, model.ends)
        self._streams: dict[int, _Stream] = {}
        self.failures = 0

    @property
    def has_work(self) -> bool:
        return self._schedule.has_work

    def take(self, message: Add | Close) -> None:
        number = message.sequence
        if isinstance(message, Close):
            if number in self._streams:
                self._remove(self._streams[number])
            return
        try:
            sequence = scheduled(
                number,
                message.token_ids,
                message.settings,
                self._model.runner.slot_tokens,
                prompt_lookup=self._model.prompt_lookup,
            )
        except EngineFailed as error:
            self._send(Failed(number, error.message))
            return
        self._streams[number] = _Stream(message, sequence, self._model.decode)
        self._schedule.add(sequence)

    def step(self) -> None:
        step = self._schedule.plan()
        try:
            for copy in step.copies:
                self._model.runner.copy_prefix(copy.source, copy.target, copy.tokens)
            logits = self._model.runner.step([part.chunk for part in step.parts])
            draws = [draw for part in step.parts for draw in self._streams[part.sequence.number].draws(part)]
            choices = choose(logits, draws)
        except Exception as error:  # of any type: whoever waits must hear of it, and others go on
            self._fail(_in_a_line(error))
            return
        self.failures = 0
        end = 0
        for part in step.parts:
            begin, end = end, end + part.chunk.logits
            self._hand_out(part, logits[begin:end], choices[begin:end])

    def _hand_out(self, part: Part, logits: Logits, choices: list[int]) -> None:
        stream = self._streams[part.sequence.number]
        scores = stream.scores(part, logits)
        fresh = self._schedule.settle(part, [] if scores else choices)
        finish = part.sequence.finish
        if finish is not None:
            self._remove(stream)
        if fresh or scores or finish:
            delta = Delta(stream.new_text(fresh), len(fresh), finish)
            self._send(Progress(part.sequence.number, delta, scores, self._rows.busy_ratio))

    def _remove(self, stream: "_Stream") -> None:
        sequence = stream.sequence
        del self._streams[sequence.number]
        self._schedule.remove(sequence)

    def _fail(self, why: str) -> None:
        self.failures += 1
        _log.error("step_failed", why=why)
        hint = " Lower max_streams or kv_cache_gb." if "memory" in why.lower() else ""
        for sequence in self._schedule.remove_running():
            del self._streams[sequence.number]
            self._send(Failed(sequence.number, f"The engine failed in a step: {why}{hint}"))


class _Stream:
    """What a step's result means to one sequence: its draws, its text, or its scores."""

    def __init__(self, asked: Add, sequence: ScheduledSequence, decode: Callable[[list[int]], str]) -> None:
        self.sequence = sequence
        self._given = asked.token_ids
        self._task: Generate | Score = asked.settings
        self._random = np.random.default_rng(asked.settings.seed if isinstance(self._task, Generate) else 0)
        self._text = TextStream(decode, asked.token_ids[-1])

    def draws(self, part: Part) -> list[Draw | None]:
        """For each of the part's logits."""
        task = self._task
        if isinstance(task, Score) or not task.temperature:
            return [None] * part.chunk.logits
        return [
            Draw(task.temperature, task.top_p, float(self._random.random())) for _ in range(part.chunk.logits)
        ]

    def scores(self, part: Part, logits: Logits) -> list[float]:
        """Log probabilities of the tokens that were given after each of the chunk's last positions."""
        if isinstance(self._task, Generate) or not part.chunk.logits:
            return []
        end = part.chunk.start + len(part.chunk.token_ids) + 1
        return log_probs(logits, self._given[end - part.chunk.logits : end])

    def new_text(self, fresh: list[int]) -> str:
        """Of the sequence's newest tokens, which it has already; its end mark is no text."""
        finish = self.sequence.finish
        shown = fresh[:-1] if finish == "stop" else fresh
        return self._text.add(shown, last=finish is not None)


class TextStream:
    """Tokens in, text out: a character whose bytes span tokens waits for the last of them.

    Text is decoded with the tokens before it, since some tokenizers drop a space at the beginning; at first
    that is the prompt's last token.
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


def _in_a_line(error: Exception) -> str:
    """The first line says what happened; in torch's messages advice to its developers follows."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
