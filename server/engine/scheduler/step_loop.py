"""The server's end of a worker process: streams in, deltas out, from any event loop."""

import asyncio
import contextlib
import itertools
import multiprocessing
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

from acepilot.errors import EngineFailed, ModelBroken
from acepilot.models.registry import ModelFolder
from server.engine.scheduler.messages import Add, Close, Failed, Opened, Progress, WorkerProgram

STOP_TIMEOUT_S = 5.0

Deliver = Callable[[Progress | EngineFailed], None]


class StepLoop:
    """One worker process and the streams that run in it. Opening blocks; raises ModelBroken.

    `about` is what the worker said of the model when it had opened it.
    """

    def __init__(self, program: WorkerProgram, model: ModelFolder, options: Any) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork would copy the server's threads' locks
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=program.run, args=(theirs, model, options), name=f"{program.name}-worker", daemon=True
        )
        self._process.start()
        theirs.close()
        self.about = self._opened(program, model)
        self._send_lock = threading.Lock()
        self._waiting: dict[int, Deliver] = {}
        self._numbers = itertools.count(1)
        self._ended = ""
        self.kv_used_ratio = 0.0
        self._reader = threading.Thread(target=self._read, name=f"{program.name}-reader", daemon=True)
        self._reader.start()

    @property
    def active(self) -> int:
        return len(self._waiting)

    @property
    def has_ended(self) -> bool:
        return bool(self._ended)

    async def stream(self, token_ids: list[int], settings: Any) -> AsyncGenerator[Progress, None]:
        """Progress after `token_ids`, to the finish. Closing it ends the work. Raises EngineFailed."""
        if not token_ids:
            raise EngineFailed("The prompt is empty, and the model needs at least one token to go on from.")
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Progress | EngineFailed] = asyncio.Queue()

        def deliver(item: Progress | EngineFailed) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody listens any more
                loop.call_soon_threadsafe(arrived.put_nowait, item)

        number = next(self._numbers)
        self._waiting[number] = deliver
        finished = False
        try:
            self._send(Add(number, token_ids, settings))
            while not finished:
                item = await arrived.get()
                if isinstance(item, EngineFailed):
                    finished = True
                    raise item
                finished = item.delta.finish is not None
                yield item
        finally:
            self._waiting.pop(number, None)
            if not finished:
                with contextlib.suppress(EngineFailed):
                    self._send(Close(number))

    def close(self) -> None:
        """Ends the worker; streams that run get EngineFailed."""
        self._ended = self._ended or "The engine was closed."
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self._process.join(STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._reader.join(STOP_TIMEOUT_S)
        self._pipe.close()

    def _opened(self, program: WorkerProgram, model: ModelFolder) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            answer = Failed(None, f"it crashed (exit code {self._process.exitcode}); the file is damaged?")
        if isinstance(answer, Opened):
            return answer.about
        raise ModelBroken(f"{program.name} cannot open {model.path}: {answer.why} It reads {program.reads}.")

    def _send(self, message: Add | Close) -> None:
        if self._ended:
            raise EngineFailed(self._ended)
        try:
            with self._send_lock:
                self._pipe.send(message)
        except OSError as error:
            raise EngineFailed("The engine's process has ended.") from error

    def _read(self) -> None:
        """In a thread of its own: hands each message to its stream."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                message: Progress | Failed = self._pipe.recv()
                deliver = self._waiting.get(message.sequence or 0)
                if isinstance(message, Progress):
                    self.kv_used_ratio = message.kv_used_ratio
                    if deliver:
                        deliver(message)
                elif deliver:
                    deliver(EngineFailed(message.why))
        self._ended = self._ended or "The engine's process has ended; it is started again."
        for deliver in list(self._waiting.values()):
            deliver(EngineFailed(self._ended))
