"""An OpenAI-style server that plays a script, misbehaves on demand, and records its requests."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tokenizers import AddedToken

from acepilot.models.registry import ModelFolder
from finetune.modeling.tiny import byte_tokenizer
from server.engine.base import Delta, GenerationRequest
from server.engine.upstream.engine import UpstreamEngine

REQUEST = GenerationRequest("def add(a, b):\n    ", max_tokens=100, temperature=0.7, top_p=0.9, seed=5)
Open = Callable[..., UpstreamEngine]

FIM_TOKENS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]


def tokenizer_folder(path: Path, *, special: bool = True, **config: Any) -> ModelFolder:
    """Save what the engine needs of a model: one token per byte, and sentinels, marked as `special` or
    not."""
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([AddedToken(text, special=special, normalized=False) for text in FIM_TOKENS])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<s>"]})
    tokenizer.save_pretrained(path)
    (path / "config.json").write_text(json.dumps({"model_type": "gptj", "n_positions": 512, **config}))
    return ModelFolder("ours", path, None)


@dataclass
class FakeUpstream:
    """Streams `pieces`, one every `step_s` seconds. By default it has none of the faults."""

    pieces: list[str] = field(default_factory=lambda: ["one", " two", " three"])
    step_s: float = 0.0
    owned_by: str = "vllm"
    cards: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "ours", "max_model_len": 256}])
    finish: str | None = "stop"
    usage: dict[str, int] | None = None
    says_done: bool = True
    lingers_s: float = 0.0
    refuses: int | None = None
    refusal: dict[str, Any] = field(default_factory=lambda: {"error": {"message": "no"}})
    dies_after: int | None = None
    fails_after: int | None = None
    health: int = 200
    health_s: float = 0.0
    token: str | None = None
    answer: dict[str, Any] = field(default_factory=dict[str, Any])

    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    ports: set[int] = field(default_factory=set[int])
    open_streams: int = 0
    left_early: int = 0
    asked_health: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def prompts(self) -> list[Any]:
        return [body["prompt"] for body in self.bodies]

    def __enter__(self) -> "FakeUpstream":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, after a stop on the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(self._app(), log_level="critical", access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        assert eventually(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/v1/completions", self._completions, methods=["POST"]),
            ]
        )

    async def _health(self, request: Request) -> Response:
        self.asked_health += 1
        await asyncio.sleep(self.health_s)
        return Response(status_code=self.health)

    async def _models(self, request: Request) -> Response:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return JSONResponse({"error": "who are you?"}, 401)
        return JSONResponse({"data": [{"owned_by": self.owned_by, **card} for card in self.cards]})

    async def _completions(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        assert request.client is not None
        self.ports.add(request.client.port)
        if self.refuses:
            return JSONResponse(self.refusal, self.refuses)
        if not body.get("stream"):
            return JSONResponse(self.answer)
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncGenerator[str, None]:
        self.open_streams += 1
        whole = False
        try:
            for number, piece in enumerate(self.pieces):
                await asyncio.sleep(self.step_s)
                if number == self.dies_after:
                    whole = True
                    raise ConnectionError("the script has the server die here")
                if number == self.fails_after:
                    yield _event({"error": {"message": f"a bug in {self.prompts[-1]}", "type": "BugError"}})
                    whole = True
                    return
                last = number == len(self.pieces) - 1
                finish = self.finish if last else None
                yield _event({"choices": [{"index": 0, "text": piece, "finish_reason": finish}]})
            if self.usage:
                yield _event({"choices": [], "usage": self.usage})
            if self.says_done:
                yield "data: [DONE]\n\n"
            whole = True
            await asyncio.sleep(self.lingers_s)
        finally:
            self.open_streams -= 1
            self.left_early += not whole


def _event(document: dict[str, Any]) -> str:
    """Encode as servers do: unescaped, except for half a character, which can only be escaped."""
    text = json.dumps(document, ensure_ascii=False)
    with contextlib.suppress(UnicodeEncodeError):
        text.encode()
        return f"data: {text}\n\n"
    return f"data: {json.dumps(document)}\n\n"


def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


async def eventually_async(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    return await asyncio.to_thread(eventually, condition, within_s)


async def collect(engine: UpstreamEngine, request: GenerationRequest = REQUEST) -> list[Delta]:
    return [delta async for delta in engine.generate(request)]


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)
