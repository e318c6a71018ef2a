"""A server that answers the playground by a script: no model, so that a browser test knows every answer.

`PUT /stub` sets the script, `GET /stub` tells what was asked. Run: python tests/e2e/playground_stub.py PORT
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel

from acepilot.protocol import (
    AcepilotInfo,
    Choice,
    CompletionRequest,
    CompletionResponse,
    ErrorBody,
    ErrorResponse,
    ModelCard,
    ModelList,
    Ready,
)
from acepilot.trail import FilterReport, PromptReport, Trail
from server.routes.playground import router


class Script(BaseModel):
    deltas: list[str] = []
    final: str | None = None
    """The text after the filters; the deltas joined where null."""
    reason: str = "Offered: ended by line_end."
    pause_ms: int = 0
    """Between two deltas."""
    hang: bool = False
    """After the deltas, send nothing more and keep the stream open."""
    break_off: bool = False
    status: int = 200
    ready: str = "ready"
    token: str | None = None
    open_ready: bool = False
    """`/ready` needs no token."""
    clipped: bool = False


class State:
    def __init__(self) -> None:
        self.script = Script()
        self.requests: list[dict[str, Any]] = []
        self.cancelled = 0
        self.trails: dict[str, Trail] = {}


app = FastAPI()
app.include_router(router)
state = State()


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    body = ErrorResponse(error=ErrorBody(message=message, type=code, code=code))
    return JSONResponse(body.model_dump(), status, headers)


def _refused(request: Request) -> Response | None:
    token = state.script.token
    if token and request.headers.get("authorization") != f"Bearer {token}":
        return _error(401, "unauthorized", "The token is missing or wrong.")
    return None


@app.put("/stub")
async def set_script(script: Script) -> None:
    state.script, state.requests, state.cancelled = script, [], 0


@app.get("/stub")
async def seen() -> dict[str, Any]:
    return {"requests": state.requests, "cancelled": state.cancelled}


@app.get("/ready")
async def ready(request: Request) -> Response:
    if not state.script.open_ready and (refused := _refused(request)):
        return refused
    status = state.script.ready
    details = {
        "loading": "Reading the weights.",
        "failed": "The file is damaged: fetch it again.",
        "ready": "",
    }
    body = Ready.model_validate({"status": status, "model": "scripted", "detail": details[status]})
    return JSONResponse(body.model_dump(), 200 if status == "ready" else 503)


@app.get("/v1/models")
async def models(request: Request) -> Response:
    if refused := _refused(request):
        return refused
    card = ModelCard(id="scripted", created=0, engine="stub", context_tokens=2048, fim="qwen")
    return JSONResponse(ModelList(data=[card]).model_dump())


@app.get("/v1/explain/{identity}")
async def explain(identity: str, request: Request) -> Response:
    if refused := _refused(request):
        return refused
    return JSONResponse(state.trails[identity].model_dump())


@app.post("/v1/completions")
async def complete(body: CompletionRequest, request: Request) -> Response:
    script = state.script
    if refused := _refused(request):
        return refused
    state.requests.append(body.model_dump(exclude_unset=True))
    if script.status == 429:
        return _error(429, "overloaded", "The queue is full.", {"Retry-After": "2"})
    if script.status != 200:
        return _error(script.status, "engine_failed", "The engine broke: see the server's log.")
    return StreamingResponse(_stream(script, f"cmpl-{len(state.trails) + 1}"), media_type="text/event-stream")


async def _stream(script: Script, identity: str) -> AsyncIterator[str]:
    try:
        for delta in script.deltas:
            yield _event(identity, delta)
            await asyncio.sleep(script.pause_ms / 1000)
        if script.hang:
            await asyncio.Event().wait()
        if script.break_off:
            return
        written = "".join(script.deltas)
        final = written if script.final is None else script.final
        state.trails[identity] = _trail(identity, script, len(written) - len(final), final == "")
        yield _event(identity, "", AcepilotInfo(text=final, reason=script.reason))
        yield "data: [DONE]\n\n"
    except asyncio.CancelledError:
        state.cancelled += 1
        raise


def _event(identity: str, text: str, info: AcepilotInfo | None = None) -> str:
    choice = Choice(index=0, text=text, finish_reason="stop" if info else None)
    chunk = CompletionResponse(id=identity, created=0, model="scripted", choices=[choice], acepilot=info)
    return f"data: {json.dumps(chunk.model_dump(exclude_none=True))}\n\n"


def _trail(identity: str, script: Script, removed_chars: int, dropped: bool) -> Trail:
    fired = [FilterReport(name="suffix_overlap", removed_chars=removed_chars, dropped=dropped)]
    return Trail(
        id=identity,
        model="scripted",
        engine="stub",
        language="vue",
        mode="line",
        prompt=PromptReport(
            prefix_tokens=1040,
            suffix_tokens=96,
            snippet_tokens=210,
            snippets_used=2,
            clipped=script.clipped,
            dropped_chars=1234 if script.clipped else 0,
            fim="qwen",
        ),
        early_stop="line_end",
        filters=fired if removed_chars else [],
        finish_reason="stop",
        generated_tokens=len(script.deltas),
        queue_ms=3.0,
        first_token_ms=182.0,
        total_ms=431.0,
        reason=script.reason,
    )


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
