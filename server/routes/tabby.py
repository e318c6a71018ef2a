"""Tabby's agent and plugins -> `segments` at `/v1/completions` (openai.py hands them over), health, settings.

Its `/v1/events` are in events.py.
"""

import os
import platform
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from acepilot import __version__
from acepilot.protocol import MAX_SNIPPETS, CompletionRequest
from server.routes.access import State
from server.routes.answers import translated, whole
from server.state import ServerState

router = APIRouter(tags=["tabby"])

SPOKEN_VERSION = "0.9.0"
"""The first Tabby with settings: agents ask an older one for none, and then report usage to its makers."""


class TabbySnippet(BaseModel):
    filepath: str
    body: str


class Segments(BaseModel):
    """What surrounds the cursor. `git_url` and `clipboard` are sent as well, and are no help here."""

    prefix: str
    suffix: str | None = None
    filepath: str | None = None
    declarations: list[TabbySnippet] | None = None
    relevant_snippets_from_changed_files: list[TabbySnippet] | None = Field(
        default=None, description="Most relevant first."
    )
    relevant_snippets_from_recently_opened_files: list[TabbySnippet] | None = Field(
        default=None, description="Last seen first."
    )


class TabbyRequest(BaseModel):
    """Tabby's completion request: it leaves `max_tokens` and the stops to the server."""

    language: str | None = Field(default=None, description="LSP language id.")
    segments: Segments
    temperature: float | None = None
    seed: int | None = None
    mode: Literal["standard"] = Field(default="standard", description="No next edit suggestions here.")


class TabbyChoice(BaseModel):
    index: int
    text: str


class TabbyResponse(BaseModel):
    """`id` opens `/v1/explain/{id}`, and is what events refer to."""

    id: str
    choices: list[TabbyChoice]


class TabbyVersion(BaseModel):
    build_date: str = ""
    build_timestamp: str = ""
    git_sha: str = ""
    git_describe: str = f"v{SPOKEN_VERSION}-acepilot-{__version__}"


class TabbyHealth(BaseModel):
    """What the agent reads is `model`, `device` and `version`; a `chat_model` would open its chat."""

    model: str
    chat_model: None = None
    device: str = Field(description="The engine: openvino, torch or upstream.")
    arch: str
    cpu_info: str
    cpu_count: int
    cuda_devices: list[str] = Field(default_factory=list[str])
    version: TabbyVersion = TabbyVersion()


class TabbySetting(BaseModel):
    disable_client_side_telemetry: Literal[True] = True


async def complete(body: TabbyRequest, request: Request, state: ServerState) -> TabbyResponse:
    has_crlf = "\r\n" in body.segments.prefix + (body.segments.suffix or "")
    answer = await whole(_our_request(body), request, state)
    choices = [
        TabbyChoice(index=choice.index, text=choice.text.replace("\n", "\r\n") if has_crlf else choice.text)
        for choice in answer.choices
    ]
    return TabbyResponse(id=answer.id, choices=choices)


@router.get("/v1/health")
@router.post("/v1/health")
async def tabby_health(state: State) -> TabbyHealth:
    """503 while the model loads: the agent then says so, and tries again."""
    info = state.service.info
    return TabbyHealth(
        model=info.model,
        device=info.engine,
        arch=platform.machine(),
        cpu_info=platform.processor(),
        cpu_count=os.cpu_count() or 1,
    )


@router.get("/v1beta/server_setting")
async def server_setting() -> TabbySetting:
    """Agents report usage to Tabby's makers unless their server says no. This one does."""
    return TabbySetting()


def _our_request(body: TabbyRequest) -> CompletionRequest:
    segments = body.segments
    helpful = [
        *reversed(segments.relevant_snippets_from_recently_opened_files or []),
        *reversed(segments.relevant_snippets_from_changed_files or []),
        *(segments.declarations or []),
    ]
    return translated(
        prompt=_unix(segments.prefix),
        suffix=_unix(segments.suffix or ""),
        language=body.language,
        path=segments.filepath,
        snippets=[{"path": each.filepath, "text": _unix(each.body)} for each in helpful[-MAX_SNIPPETS:]],
        temperature=body.temperature,
        seed=body.seed,
        mode="auto",
    )


def _unix(text: str) -> str:
    """The agent sends a file's line ends as they are; prompt and filters know one kind."""
    return text.replace("\r\n", "\n")
