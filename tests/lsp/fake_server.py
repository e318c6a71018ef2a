"""A scripted completion server on a real port, which records its requests."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from acepilot import __version__
from acepilot.events import CompletionEvent, EventBatch
from acepilot.protocol import AcepilotInfo, Choice, CompletionRequest, CompletionResponse, Health, Ready
from acepilot.trail import Trail

Script = Literal["stream", "die", "500", "hang", "malformed", "401", "429", "loading", "failed"]


@dataclass
class Seen:
    """One request for a completion: its client's port, the number of chunks sent, and how it ended."""

    body: CompletionRequest
    authorization: str | None
    port: int
    chunks: int = 0
    ended: Literal["", "whole", "cancelled", "refused", "died"] = ""


@dataclass
class FakeServer:
    """`script`, `text` and `delay_s` can be set at any time, for the next request.

    A stream's connection stays open for `lingers_s` after the last event. `seen` records the requests for
    streams, and `asked_for_others` the requests for other candidates. `trails` are the records for
    `/v1/explain`.
    """

    text: str = "os.stat(path).st_size"
    final: str | None = None
    reason: str = ""
    script: Script = "stream"
    delay_s: float = 0.0
    lingers_s: float = 0.0
    token: str | None = None
    seen: list[Seen] = field(default_factory=list[Seen])
    others: list[str] = field(default_factory=list[str])
    asked_for_others: list[CompletionRequest] = field(default_factory=list[CompletionRequest])
    trails: list[Trail] = field(default_factory=list[Trail])
    events: list[CompletionEvent] = field(default_factory=list[CompletionEvent])
    events_status: int = 200
    version: str = __version__
    port: int = 0

    def __post_init__(self) -> None:
        self._uvicorn: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app(), log_level="critical", timeout_graceful_shutdown=1, lifespan="off"
        )
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._uvicorn.run, args=([listener],), daemon=True)
        self._thread.start()
        wait_for(lambda: bool(self._uvicorn and self._uvicorn.started))

    def stop(self) -> None:
        """Stop as a crash does: cut all connections."""
        if self._uvicorn is not None and self._thread is not None:
            self._uvicorn.should_exit = True
            self._uvicorn.force_exit = True
            for connection in list(self._uvicorn.server_state.connections):
                connection.transport.abort()  # type: ignore[union-attr]
            self._thread.join(5)
            self._uvicorn = self._thread = None

    def in_flight(self) -> int:
        return sum(not one.ended for one in self.seen)

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/ready")
        async def ready() -> Response:
            status = self.script if self.script in ("loading", "failed") else "ready"
            body = Ready(status=status, model="fake", engine="fake", detail="Patience.")
            code = 200 if status == "ready" else 503
            return Response(body.model_dump_json(), code, media_type="application/json")

        @app.get("/health")
        async def health() -> Health:
            return Health(version=self.version)

        @app.get("/v1/models")
        async def models(request: Request) -> Response:
            if self._refuses(request):
                return _error(401, "unauthorized", "No.")
            return JSONResponse({"object": "list", "data": []})

        @app.post("/v1/completions")
        async def completions(request: Request) -> Response:
            body = CompletionRequest.model_validate(await request.json())
            if not body.stream:
                return await self._other_candidates(body)
            assert request.client is not None
            seen = Seen(body, request.headers.get("authorization"), request.client.port)
            self.seen.append(seen)
            script = "401" if self._refuses(request) else self.script
            if script in ("stream", "die", "hang"):
                chunks = self._chunks(seen, script, self.text, self.delay_s)
                return StreamingResponse(chunks, media_type="text/event-stream")
            seen.ended = "refused"
            match script:
                case "malformed":
                    return PlainTextResponse(
                        'data: {"id": 1, "choices": "secret_prefix\n\n', media_type="text/event-stream"
                    )
                case "401":
                    return _error(401, "unauthorized", "No.")
                case "429":
                    return _error(429, "overloaded", "The queue is full.", {"Retry-After": "1"})
                case "loading" | "failed":
                    return _error(503, "not_ready", "There is no model.")
                case _:
                    return _error(500, "engine_failed", "The engine broke.")

        @app.get("/v1/explain/{completion_id}")
        async def explain(completion_id: str) -> Response:
            for trail in self.trails:
                if trail.id == completion_id:
                    return Response(trail.model_dump_json(), media_type="application/json")
            return _error(404, "not_found", "Forgotten.")

        @app.post("/v1/events")
        async def events(request: Request) -> Response:
            if self._refuses(request):
                return _error(401, "unauthorized", "No.")
            if self.events_status != 200:
                return _error(self.events_status, "no_events", "Not here.")
            batch = EventBatch.model_validate(await request.json())
            self.events += batch.events
            return JSONResponse({"taken": len(batch.events)})

        return app

    async def _other_candidates(self, body: CompletionRequest) -> Response:
        self.asked_for_others.append(body)
        await asyncio.sleep(self.delay_s)
        choices = [Choice(index=index, text=text) for index, text in enumerate(self.others[: body.n])]
        name = f"cmpl-others-{len(self.asked_for_others)}"
        response = CompletionResponse(id=name, created=int(time.time()), model="fake", choices=choices)
        return Response(response.model_dump_json(), media_type="application/json")

    def _refuses(self, request: Request) -> bool:
        expected = f"Bearer {self.token}"
        return self.script == "401" or (
            self.token is not None and request.headers.get("authorization") != expected
        )

    async def _chunks(self, seen: Seen, script: str, text: str, delay_s: float) -> AsyncIterator[str]:
        """Yield chunks of four characters. Starlette cancels this when the client disconnects."""
        name = f"cmpl-{len(self.seen)}"
        try:
            if script == "hang":
                await asyncio.sleep(600)
            for start in range(0, len(text), 4):
                if script == "die" and start >= len(text) // 2:
                    seen.ended = "died"
                    raise ConnectionAbortedError
                await asyncio.sleep(delay_s)
                yield _chunk(name, text[start : start + 4])
                seen.chunks += 1
            final = text if self.final is None else self.final
            seen.ended = "whole"
            yield _chunk(name, "", AcepilotInfo(text=final, reason=self.reason), finish_reason="stop")
            yield "data: [DONE]\n\n"
            await asyncio.sleep(self.lingers_s)
        finally:
            if not seen.ended:
                seen.ended = "cancelled"


def _chunk(name: str, text: str, info: AcepilotInfo | None = None, finish_reason: Any = None) -> str:
    choice = Choice(index=0, text=text, finish_reason=finish_reason)
    chunk = CompletionResponse(
        id=name, created=int(time.time()), model="fake", choices=[choice], acepilot=info
    )
    return f"data: {chunk.model_dump_json(exclude_none=True)}\n\n"


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    body = {"error": {"message": message, "type": code, "code": code, "param": None}}
    return Response(json.dumps(body), status, headers, media_type="application/json")


def wait_for(condition: Any, timeout_s: float = 5.0) -> None:
    """Poll until `condition()` holds; fail after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"the condition did not hold within {timeout_s} s")
        time.sleep(0.01)
