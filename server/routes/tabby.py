"""Tabby's agent and plugins -> `segments` at `/v1/completions` (called by openai.py), health, settings.

Tabby's `/v1/events` are in events.py.
"""

import os
import platform
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from acepilot import __version__
from acepilot.protocol import MAX_SNIPPETS, CompletionRequest, LanguageName, PathName, Text
from server.routes.answers import translated, whole
from server.state import ServerState, State

router = APIRouter(tags=["tabby"])

TABBY_VERSION = "0.9.0"
"""The first Tabby that has settings. Agents report usage to Tabby's makers when a server has none."""


class TabbySnippet(BaseModel):
    filepath: PathName
    body: Text


TabbySnippets = Annotated[list[TabbySnippet], Field(max_length=1_000, fail_fast=True)]


class Segments(BaseModel):
    """The text around the cursor. Agents also send `git_url` and `clipboard`, which are ignored."""

    prefix: Text
    suffix: Text | None = None
    filepath: PathName | None = None
    declarations: TabbySnippets | None = None
    relevant_snippets_from_changed_files: TabbySnippets | None = Field(
        default=None, description="Most relevant first."
    )
    relevant_snippets_from_recently_opened_files: TabbySnippets | None = Field(
        default=None, description="Last seen first."
    )


class TabbyRequest(BaseModel):
    """Tabby's completion request, which leaves `max_tokens` and the stops to the server."""

    language: LanguageName | None = Field(default=None, description="LSP language id.")
    segments: Segments
    temperature: float | None = None
    seed: int | None = None
    mode: Literal["standard"] = Field(
        default="standard", description="Next edit suggestions are not supported."
    )


class TabbyChoice(BaseModel):
    index: int
    text: str


class TabbyResponse(BaseModel):
    """`id` opens `/v1/explain/{id}`; events refer to it."""

    id: str
    choices: list[TabbyChoice]


class TabbyVersion(BaseModel):
    build_date: str = ""
    build_timestamp: str = ""
    git_sha: str = ""
    git_describe: str = f"v{TABBY_VERSION}-acepilot-{__version__}"


class TabbyHealth(BaseModel):
    """The agent reads `model`, `device` and `version`; a `chat_model` would make it offer chat."""

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
    """Answers 503 while the model loads; the agent shows that, and tries again."""
    info = state.service.engine.info
    return TabbyHealth(
        model=info.model,
        device=info.engine,
        arch=platform.machine(),
        cpu_info=platform.processor(),
        cpu_count=os.cpu_count() or 1,
    )


@router.get("/v1beta/server_setting")
async def server_setting() -> TabbySetting:
    """Agents report usage to Tabby's makers unless their server forbids it, as this one does."""
    return TabbySetting()


def _our_request(body: TabbyRequest) -> CompletionRequest:
    segments = body.segments
    snippets = [
        *reversed(segments.relevant_snippets_from_recently_opened_files or []),
        *reversed(segments.relevant_snippets_from_changed_files or []),
        *(segments.declarations or []),
    ]
    return translated(
        prompt=_unix(segments.prefix),
        suffix=_unix(segments.suffix or ""),
        language=body.language,
        path=segments.filepath,
        snippets=[{"path": each.filepath, "text": _unix(each.body)} for each in snippets[-MAX_SNIPPETS:]],
        temperature=body.temperature,
        seed=body.seed,
        mode="auto",
    )


def _unix(text: str) -> str:
    """Replace Windows line ends, which the agent sends as they are; prompt and filters expect LF."""
    return text.replace("\r\n", "\n")
