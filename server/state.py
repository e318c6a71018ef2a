"""What the app's routes share: settings, events, and the model, which is loading, ready or failed."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Annotated

import structlog
from fastapi import Depends, Request

from acepilot.errors import AcepilotError, Overloaded, ServerNotReady
from acepilot.events import MAX_NAME_CHARS
from acepilot.protocol import Ready
from server.admission import Admission
from server.completion import Trails
from server.engine.base import Engine, GenerationRequest
from server.events.store import EventStore
from server.metrics import Metrics
from server.options import ServiceOptions
from server.service import CompletionService
from server.settings import ServerSettings

RETRY_S = 1.0
"""Seconds between attempts to open an engine whose model runs in another server that is not ready."""

_log = structlog.get_logger()


class ServerState:
    """One server's state. `load_engine` is slow and runs in a thread, so that `/health` answers meanwhile."""

    def __init__(
        self, settings: ServerSettings, load_engine: Callable[[], Engine], options: ServiceOptions
    ) -> None:
        self.settings = settings
        self.options = options
        self.metrics = Metrics()
        self.trails = Trails()
        self.events = EventStore(
            settings.events_database(), self.metrics.events, keep_days=settings.events_days
        )
        self.admission = Admission(settings.max_streams, settings.max_waiting, options.queue_timeout_s)
        self._load_engine = load_engine
        self._service: CompletionService | None = None
        self._failure = ""
        self._waits_for = ""

    async def load(self) -> None:
        """Load and warm up the model. The server stays up after a failure, so that `/ready` can report it."""
        engine = None
        while engine is None:
            try:
                engine = await self._open_engine()
            except (ServerNotReady, Overloaded) as error:  # its model runs in another server
                if error.message != self._waits_for:
                    _log.warning("model_waits", model=self.settings.model, why=error.message)
                self._waits_for = error.message
                await asyncio.sleep(RETRY_S)
            except Exception as error:  # any failure: `/ready` must report it and not stay at `loading`
                known = isinstance(error, AcepilotError)
                self._failure = error.message if known else f"The model could not be loaded: {error!r}"
                _log.error("model_failed", model=self.settings.model, why=self._failure)
                return
        self._service = CompletionService(
            engine, self.settings, self.options, self.admission, self.metrics, self.trails
        )
        self.metrics.events.keep_label(engine.info.model[:MAX_NAME_CHARS])
        self.metrics.active.set_function(lambda: self.admission.active)
        self.metrics.waiting.set_function(lambda: self.admission.waiting)
        self.metrics.kv_used.set_function(lambda: engine.load().kv_used_ratio)
        _log.info("model_ready", model=engine.info.model, engine=engine.info.engine)

    async def _open_engine(self) -> Engine:
        engine = await asyncio.wrap_future(_in_daemon_thread(self._load_engine))
        try:
            # The first generation allocates memory, which must not delay the first keystroke.
            async for _ in engine.generate(GenerationRequest(prompt="#", max_tokens=2)):
                pass
        except BaseException:
            engine.close()
            raise
        return engine

    @property
    def service(self) -> CompletionService:
        """Raises ServerNotReady while the model loads, or when it failed to load."""
        if self._service is None:
            loading = self._waits_for or "The model is still loading: try again in a few seconds."
            raise ServerNotReady(self._failure or loading)
        return self._service

    def ready(self) -> Ready:
        if self._service is not None:
            info = self._service.engine.info
            if trouble := self._service.engine.load().trouble:
                return Ready(status="failed", model=info.model, engine=info.engine, detail=trouble)
            return Ready(status="ready", model=info.model, engine=info.engine)
        status = "failed" if self._failure else "loading"
        return Ready(status=status, model=self.settings.model, detail=self._failure or self._waits_for)

    def close(self) -> None:
        self.events.close()
        if self._service is not None:
            self._service.engine.close()


def _in_daemon_thread(load: Callable[[], Engine]) -> Future[Engine]:
    """Start `load` in a thread that does not delay the server's end, as one of asyncio.to_thread would."""
    loading: Future[Engine] = Future()
    loading.set_running_or_notify_cancel()  # from now on it cannot be cancelled

    def run() -> None:
        try:
            loading.set_result(load())
        except BaseException as error:
            loading.set_exception(error)

    threading.Thread(target=run, name="model-loader", daemon=True).start()
    return loading


def _state_of(request: Request) -> ServerState:
    return request.app.state.server


State = Annotated[ServerState, Depends(_state_of)]
"""The type of a route's parameter that gets the server's state."""
