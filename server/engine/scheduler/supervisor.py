"""Keeps a worker process running: starts one, and another one after each crash or hang."""

import atexit
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import structlog

from acepilot.errors import AcepilotError, EngineFailed, ServerNotReady
from server.engine.base import EngineLoad
from server.engine.scheduler.client import WorkerClient
from server.engine.scheduler.limits import WorkerLimits
from server.engine.scheduler.messages import Opened

STEADY_S = 60.0
"""A worker that has run for this long was in order: after its end the pauses begin again with the first."""

CLOSE_TIMEOUT_S = 2.0
"""Seconds for a killed worker to end when the engine is closed."""

CLOSED = "The engine was closed."

_log = structlog.get_logger()


class Supervisor:
    """Runs one worker at a time, with growing pauses between restarts. `opened` is the first one's message.

    Making it blocks until the first worker has opened the model, and raises ModelBroken if it cannot. All
    workers are started by one thread, because on Linux a worker ends with the thread that has started it.
    """

    def __init__(self, start: Callable[[], WorkerClient], limits: WorkerLimits) -> None:
        self._start = start
        self._limits = limits
        self._worker: WorkerClient | None = None
        self._trouble = ""
        self._closed = threading.Event()
        self._first: Future[Opened] = Future()
        self._thread = threading.Thread(target=self._run, name="worker-supervisor", daemon=True)
        atexit.register(self.close)  # else multiprocessing waits at exit, also for a process that hangs
        self._thread.start()
        try:
            self.opened = self._first.result()
        except BaseException:
            self.close()
            raise

    @property
    def worker(self) -> WorkerClient:
        """The running worker. Raises ServerNotReady while there is none that answers."""
        worker, trouble = self._worker, self.trouble
        if self._closed.is_set():
            raise EngineFailed(CLOSED)
        if worker is None or trouble:
            raise ServerNotReady(trouble)
        return worker

    @property
    def trouble(self) -> str:
        """Why requests fail now; an empty text while a worker is running and answers."""
        return self._trouble or (self._worker.end_reason or self._worker.late if self._worker else "")

    def load(self) -> EngineLoad:
        return self._worker.load() if self._worker else EngineLoad(0, 0.0)

    def close(self) -> None:
        """End the worker. Running sequences get EngineFailed."""
        atexit.unregister(self.close)
        self._closed.set()
        if self._worker is not None:
            self._worker.end(CLOSED)
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        pause_s = self._limits.first_pause_s
        while not self._closed.is_set():
            began = time.monotonic()
            self._trouble = self._one_worker()
            if self._closed.is_set() or not self._first_has_opened():
                return
            if time.monotonic() - began > STEADY_S:
                pause_s = self._limits.first_pause_s
            _log.error("worker_ended", why=self._trouble, starts_again_in_s=round(pause_s))
            self._closed.wait(pause_s)
            pause_s = min(pause_s * 2, self._limits.longest_pause_s)

    def _first_has_opened(self) -> bool:
        return self._first.done() and self._first.exception() is None

    def _one_worker(self) -> str:
        """Run a worker until it ends, and return why it has ended."""
        again = self._first.done()
        try:
            worker = self._start()
            self._worker = worker
            if self._closed.is_set():
                worker.end(CLOSED)
            opened = worker.wait_until_opened()
        except Exception as error:  # of any type: the next attempt may succeed
            if not again:
                self._first.set_exception(error)
            reason = error.message if isinstance(error, AcepilotError) else repr(error)
            return f"The engine's process could not be started again: {reason}"
        self._trouble = ""
        if again:
            _log.info("worker_started_again")
        else:
            self._first.set_result(opened)
        worker.watch()
        return worker.end_reason
