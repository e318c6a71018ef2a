"""The server's end of a worker process: starts it, and hands its messages to the streams that wait.

A worker may hang, in a driver or because it was stopped, and then it does not read its pipe. So only a thread
writes to the pipe, and nothing that the event loop calls waits for the worker.
"""

import contextlib
import itertools
import multiprocessing
import queue
import threading
from collections.abc import Generator

import structlog

from acepilot.errors import AcepilotError, EngineFailed, ModelBroken, ServerNotReady
from acepilot.models.registry import ModelFolder
from server.engine.base import EngineLoad, EngineOptions, GenerationRequest, TokenCounts
from server.engine.inbox import Inbox
from server.engine.scheduler import messages
from server.engine.scheduler.limits import OpeningLimits, WorkerLimits
from server.engine.scheduler.worker import WorkerProgram, serve

OPENING_TICK_S = 0.2
"""Seconds between looks at the memory of a process that opens a model: it can take a gigabyte meanwhile."""

SILENT_TICKS = 30
"""Looks at a worker's silence within `silent_s`. Time is counted in looks, so that a pause of the server
itself (Ctrl-Z) is not taken for the worker's silence."""

LATE_SHARE = 1 / 3
"""A worker that has been silent for this share of its limit gets no new requests."""

MAX_UNSENT = 1024
"""Messages that wait to be sent to the worker: some megabytes. Further requests are refused."""

KILLED_S = 5.0
"""Seconds for a killed process to end. One that is stuck in a driver takes longer, and is left alone."""

ENDED = "The engine's process has ended; it is started again."


class WorkerClient:
    """One worker process and the sequences that run in it. Starting it does not block.

    `wait_until_opened` and then `watch` must run in a thread, the one that has made the client: on Linux the
    process ends when that thread ends. The other methods do not block. Once the process ends, or hangs,
    `end_reason` says why.
    """

    def __init__(
        self, program: WorkerProgram, model: ModelFolder, options: EngineOptions, limits: WorkerLimits
    ) -> None:
        self.end_reason = ""
        self._program = program
        self._model = model
        self._limits = limits
        self._opening = OpeningLimits.of(model, options, limits)
        self._opened: messages.Opened | None = None
        self._raises: type[AcepilotError] = ModelBroken
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._heard = False
        self._silent_s = 0.0
        self._silent_limit_s = limits.silent_s
        self._awaits_pong = False
        self._inboxes: dict[int, Inbox[messages.Progress]] = {}
        self._numbers = itertools.count(1)
        self._unsent: queue.SimpleQueue[messages.ToWorker | None] = queue.SimpleQueue()
        self._last_step = messages.StepDone([], 0.0, TokenCounts())
        spawn = multiprocessing.get_context("spawn")  # a fork would copy the locks of the server's threads
        ends: tuple[messages.ServerEnd, messages.WorkerEnd] = spawn.Pipe()
        self._pipe, worker_end = ends
        self._process = spawn.Process(
            target=serve,
            args=(worker_end, program, model, options, structlog.get_logger().bind().get_effective_level()),
            name=f"{program.name}-worker",
            daemon=True,
        )
        self._process.start()
        worker_end.close()
        self._threads = [
            threading.Thread(target=run, name=f"{program.name}-{run.__name__.strip('_')}", daemon=True)
            for run in (self._read, self._write)
        ]
        for thread in self._threads:
            thread.start()

    def wait_until_opened(self) -> messages.Opened:
        """Block until the model is open.

        Raises ModelBroken, also if that takes too much time or memory, ConfigError and NotEnoughDisk.
        """
        passed_s = 0.0
        while not self._answered.wait(OPENING_TICK_S):
            passed_s += OPENING_TICK_S
            if exceeded := self._opening.exceeded(self._process.pid or 0, passed_s):
                self.end(exceeded)
        if self._opened is not None:
            return self._opened
        self._release()
        reason = self.end_reason
        if reason == ENDED:
            reason = f"its process crashed (exit code {self._process.exitcode}): the file may be damaged."
        if self._raises is not ModelBroken:
            raise self._raises(reason)
        raise ModelBroken(
            f"The engine {self._program.name} cannot open {self._model.path}: {reason} It reads "
            f"{self._program.reads}."
        )

    def watch(self) -> None:
        """Block until the process has ended. A process that hangs is ended."""
        tick_s = self._silent_limit_s / SILENT_TICKS
        while not self._ended.wait(tick_s):
            self._silent_s = 0.0 if self._heard else self._silent_s + tick_s
            self._heard = False
            if self._silent_s > self._silent_limit_s:
                self.end(f"{self.late} It is started again.")
            elif not self._awaits_pong:
                self._awaits_pong = True
                self._unsent.put(messages.Ping())
        self._release()

    @property
    def late(self) -> str:
        """A sentence about a worker that should have answered by now, else an empty text."""
        if self._silent_s <= self._silent_limit_s * LATE_SHARE:
            return ""
        return f"The engine's process has not answered for {self._silent_s:.0f} s."

    def load(self) -> EngineLoad:
        active = len(self._inboxes)
        return EngineLoad(active, self._last_step.kv_used_ratio if active else 0.0, self._last_step.counts)

    @contextlib.contextmanager
    def sequence(
        self, token_ids: list[int], task: GenerationRequest | messages.Score
    ) -> Generator[Inbox[messages.Progress], None, None]:
        """Start a sequence and yield the inbox for its progress, which raises EngineFailed.

        Leaving the context before the sequence has finished cancels it. Raises EngineFailed, ServerNotReady.
        """
        if not token_ids:
            raise EngineFailed("The prompt is empty: send at least one token of prompt.")
        if self._unsent.qsize() >= MAX_UNSENT:
            raise ServerNotReady("The engine's process reads no more requests: try again in a few seconds.")
        number = next(self._numbers)
        inbox = self._inboxes[number] = Inbox()
        try:
            if self.end_reason:  # asked after the inbox is there, so that `end` finds the one or the other
                raise EngineFailed(self.end_reason)
            self._unsent.put(messages.StartSequence(number, token_ids, task))
            yield inbox
        finally:
            if self._inboxes.pop(number, None) is not None:
                self._unsent.put(messages.CancelSequence(number))

    def end(self, reason: str) -> None:
        """Kill the process, which has nothing to save. Running sequences get EngineFailed at once."""
        self.end_reason = self.end_reason or reason
        self._process.kill()
        self._unsent.put(None)
        self._answered.set()
        self._ended.set()
        for number in list(self._inboxes):
            self._fail(number, self.end_reason)

    def _release(self) -> None:
        """Wait for the killed process, and close the pipe when no thread uses it."""
        self._process.join(KILLED_S)
        for thread in self._threads:
            thread.join(KILLED_S)
        if not any(thread.is_alive() for thread in self._threads):
            self._pipe.close()

    def _write(self) -> None:
        """Send messages until the process ends; runs in a thread of its own."""
        with contextlib.suppress(OSError):
            while (message := self._unsent.get()) is not None:
                self._pipe.send(message)

    def _read(self) -> None:
        """Receive messages until the process ends; runs in a thread of its own."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._take(self._pipe.recv())
                self._heard = True
        self.end(ENDED)

    def _take(self, message: messages.FromWorker) -> None:
        match message:
            case messages.Opened():
                self._opened = message
                self._silent_limit_s = max(self._limits.silent_s, message.longest_step_s)
                self._answered.set()
            case messages.OpeningFailed():
                self._raises = message.raises
                self.end(message.reason)
            case messages.Pong():
                self._awaits_pong = False
            case messages.SequenceFailed():
                self._fail(message.number, message.reason)
            case messages.StepDone():
                self._last_step = message
                for progress in message.progress:
                    self._hand_over(progress)

    def _hand_over(self, progress: messages.Progress) -> None:
        inbox = self._inboxes.get(progress.number)
        if progress.delta.finish is not None:
            self._inboxes.pop(progress.number, None)
        if inbox is not None:
            inbox.put(progress)

    def _fail(self, number: int, reason: str) -> None:
        inbox = self._inboxes.pop(number, None)
        if inbox is not None:
            inbox.put(EngineFailed(reason))
