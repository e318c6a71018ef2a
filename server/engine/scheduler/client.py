"""The server's end of a worker process: starts it, and hands its messages to the streams that wait."""

import contextlib
import itertools
import multiprocessing
import threading
from collections.abc import Generator

import structlog

from acepilot.errors import EngineFailed, ModelBroken
from acepilot.models.registry import ModelFolder
from server.engine.base import EngineLoad, EngineOptions, GenerationRequest, TokenCounts
from server.engine.inbox import Inbox
from server.engine.scheduler import messages
from server.engine.scheduler.worker import WorkerProgram, serve

STOP_TIMEOUT_S = 5.0
"""Seconds for the worker to end by itself. A step takes less; after that the process is killed."""


class WorkerClient:
    """One worker process and the sequences that run in it. `opened` is its answer to being started.

    Starting blocks until the model is open. Raises ModelBroken. Once the process ends, `end_reason` says why.
    """

    def __init__(self, program: WorkerProgram, model: ModelFolder, options: EngineOptions) -> None:
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
        self.opened = self._receive_opened(program, model)
        self._send_lock = threading.Lock()
        self._inboxes: dict[int, Inbox[messages.Progress]] = {}
        self._numbers = itertools.count(1)
        self.end_reason = ""
        self._last_step = messages.StepDone([], 0.0, TokenCounts())
        self._reader = threading.Thread(target=self._read, name=f"{program.name}-reader", daemon=True)
        self._reader.start()

    def load(self) -> EngineLoad:
        active = len(self._inboxes)
        return EngineLoad(active, self._last_step.kv_used_ratio if active else 0.0, self._last_step.counts)

    @contextlib.contextmanager
    def sequence(
        self, token_ids: list[int], task: GenerationRequest | messages.Score
    ) -> Generator[Inbox[messages.Progress], None, None]:
        """Start a sequence and yield the inbox for its progress, which raises EngineFailed.

        Leaving the context before the sequence has finished cancels it.
        """
        if not token_ids:
            raise EngineFailed("The prompt is empty: send at least one token of prompt.")
        number = next(self._numbers)
        inbox = self._inboxes[number] = Inbox()
        try:
            self._send(messages.StartSequence(number, token_ids, task))
            yield inbox
        finally:
            if self._inboxes.pop(number, None) is not None:
                with contextlib.suppress(EngineFailed):
                    self._send(messages.CancelSequence(number))

    def close(self) -> None:
        """End the worker. Running sequences get EngineFailed."""
        self.end_reason = self.end_reason or "The engine was closed."
        with contextlib.suppress(OSError):
            self._pipe.send(messages.StopWorker())
        self._process.join(STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._reader.join(STOP_TIMEOUT_S)
        self._pipe.close()

    def _receive_opened(self, program: WorkerProgram, model: ModelFolder) -> messages.Opened:
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            answer = messages.OpeningFailed(
                f"its process crashed (exit code {self._process.exitcode}): the file may be damaged."
            )
        if isinstance(answer, messages.Opened):
            return answer
        reason = answer.reason if isinstance(answer, messages.OpeningFailed) else "it answered unexpectedly."
        raise ModelBroken(
            f"The engine {program.name} cannot open {model.path}: {reason} It reads {program.reads}."
        )

    def _send(self, message: messages.ToWorker) -> None:
        if self.end_reason:
            raise EngineFailed(self.end_reason)
        try:
            with self._send_lock:
                self._pipe.send(message)
        except OSError as error:
            raise EngineFailed("The engine's process has ended.") from error

    def _read(self) -> None:
        """Receive messages until the process ends; runs in a thread of its own."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._take(self._pipe.recv())
        self.end_reason = self.end_reason or "The engine's process has ended; it is started again."
        for number in list(self._inboxes):
            self._fail(number, self.end_reason)

    def _take(self, message: messages.FromWorker) -> None:
        if isinstance(message, messages.SequenceFailed):
            self._fail(message.number, message.reason)
        elif isinstance(message, messages.StepDone):
            self._last_step = message
            for progress in message.progress:
                inbox = self._inboxes.get(progress.number)
                if progress.delta.finish is not None:
                    self._inboxes.pop(progress.number, None)
                if inbox is not None:
                    inbox.put(progress)

    def _fail(self, number: int, reason: str) -> None:
        inbox = self._inboxes.pop(number, None)
        if inbox is not None:
            inbox.put(EngineFailed(reason))
