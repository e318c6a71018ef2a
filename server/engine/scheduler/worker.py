"""The worker process, which owns an open model and computes its steps; client.py is the server's end.

It takes in all messages, computes one step, and sends the new tokens; so a cancelled sequence leaves before
the next step. The process ends when either end closes the pipe, and when the server's process ends, however
that happens. Only an engine's `open_model` knows which library runs the model.
"""

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from acepilot.errors import ConfigError, EngineFailed, NotEnoughDisk
from acepilot.models.registry import ModelFolder
from acepilot.processes import end_with_parent
from server import logs
from server.engine.base import Delta, EngineOptions
from server.engine.scheduler import messages
from server.engine.scheduler.kv_rows import Rows
from server.engine.scheduler.sampling import Logits, choose
from server.engine.scheduler.schedule import Part, Schedule, StepLimits
from server.engine.scheduler.sequence import ScheduledSequence, new_sequence
from server.engine.scheduler.step import RowSlice, Runner

_log = structlog.get_logger()

FAILURES_IN_A_ROW = 3
"""After this many failed steps in a row the process ends and the server starts another one: some errors, such
as a CUDA error, stay until the process ends."""


@dataclass(frozen=True)
class ServedModel:
    """An open model. `decode` leaves out special tokens; a text ends after a token of `ends`."""

    runner: Runner
    decode: Callable[[list[int]], str]
    ends: frozenset[int]
    limits: StepLimits
    opened: messages.Opened


@dataclass(frozen=True)
class WorkerProgram:
    """What the worker of the engine `name` runs: `open_model`, for the files that `reads` names to users."""

    name: str
    open_model: Callable[[ModelFolder, EngineOptions], ServedModel]
    reads: str


def serve(
    pipe: messages.WorkerEnd, program: WorkerProgram, folder: ModelFolder, options: EngineOptions, level: int
) -> None:
    """Run a worker process, which logs from `level` on; returns when the server closes the pipe."""
    server = multiprocessing.parent_process()
    if server is not None and server.pid is not None:
        end_with_parent(server.pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the server decides
    logs.set_up(level)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            model = program.open_model(folder, options)
            longest_step_s = _longest_step_s(model)
        except (ConfigError, NotEnoughDisk) as error:
            pipe.send(messages.OpeningFailed(error.message, type(error)))
            return
        except Exception as error:  # the server reports it, whatever its type
            pipe.send(messages.OpeningFailed(_first_line(error)))
            return
        pipe.send(replace(model.opened, longest_step_s=longest_step_s))
        worker = Worker(model, options, pipe.send)
        while worker.failures < FAILURES_IN_A_ROW:
            while pipe.poll(0 if worker.schedule.has_work else None):
                message = pipe.recv()
                if isinstance(message, messages.Ping):
                    pipe.send(messages.Pong())
                else:
                    worker.take(message)
            worker.step()


class Worker:
    """The worker without its pipe: it calls `send` with each message."""

    def __init__(
        self,
        model: ServedModel,
        options: EngineOptions,
        send: Callable[[messages.StepDone | messages.SequenceFailed], None],
    ) -> None:
        self._model = model
        self._options = options
        self._send = send
        self.rows = Rows(model.runner.slots, prefix_cache=options.prefix_cache)
        self.schedule = Schedule(self.rows, model.limits, options.max_streams, model.ends)
        self.sequences: dict[int, ScheduledSequence] = {}
        self.failures = 0

    def take(self, message: messages.StartSequence | messages.CancelSequence) -> None:
        if isinstance(message, messages.CancelSequence):
            if message.number in self.sequences:
                self._remove(self.sequences[message.number])
            return
        decode, row_tokens = self._model.decode, self._model.runner.slot_tokens
        try:
            sequence = new_sequence(message, decode, row_tokens, prompt_lookup=self._options.prompt_lookup)
        except EngineFailed as error:
            self._send(messages.SequenceFailed(message.number, error.message))
            return
        self.sequences[message.number] = sequence
        self.schedule.add(sequence)

    def step(self) -> None:
        places, parts = self.schedule.plan()
        try:
            for place in places:
                if place.source is not None:
                    self._model.runner.copy_prefix(place.source, place.row.slot, place.reused)
            logits = self._model.runner.step([part.row_slice for part in parts])
            draws = [draw for part in parts for draw in part.sequence.draws(part.row_slice.logits)]
            choices = choose(logits, draws)
        except Exception as error:  # of any type: the streams must end, and other sequences go on
            self._fail(_first_line(error))
            return
        self.failures = 0
        progress: list[messages.Progress] = []
        end = 0
        for part in parts:
            begin, end = end, end + part.row_slice.logits
            progress += self._settled(part, logits[begin:end], choices[begin:end])
        self._send(messages.StepDone(progress, self.rows.busy_ratio, replace(self.schedule.counts)))

    def _settled(self, part: Part, logits: Logits, choices: list[int]) -> list[messages.Progress]:
        """Take in one sequence's result, and return its progress, if any."""
        sequence = part.sequence
        scores = sequence.scores(part.row_slice, logits)
        new_tokens = self.schedule.settle(part, [] if scores else choices)
        if sequence.finish is not None:
            self._remove(sequence)
        if not (new_tokens or scores or sequence.finish):
            return []
        delta = Delta(sequence.new_text(new_tokens), len(new_tokens), sequence.finish)
        return [messages.Progress(sequence.number, delta, scores)]

    def _remove(self, sequence: ScheduledSequence) -> None:
        del self.sequences[sequence.number]
        self.schedule.remove(sequence)

    def _fail(self, reason: str) -> None:
        self.failures += 1
        _log.error("step_failed", why=reason)
        hint = " Lower max_streams or kv_cache_gb." if "memory" in reason.lower() else ""
        message = f"The engine failed in a step: {reason}{hint}"
        for sequence in self.schedule.remove_running():
            del self.sequences[sequence.number]
            self._send(messages.SequenceFailed(sequence.number, message))


def _longest_step_s(model: ServedModel) -> float:
    """Return the seconds that the tokens of a full step take one after another: together they take less.

    The first step is not timed: it also allocates memory.
    """
    one_token = [RowSlice(slot=0, start=0, token_ids=[min(model.ends)], logits=1)]
    model.runner.step(one_token)
    began = time.monotonic()
    model.runner.step(one_token)
    return (time.monotonic() - began) * model.limits.tokens


def _first_line(error: Exception) -> str:
    """Return the first line of an error, which says what happened; torch adds advice for its developers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
