"""`POST /v1/events`: completion events, from Acepilot's language server or from Tabby's clients.

The answer comes at once; server/events/store.py writes later. Tabby's clients do not know a completion's
model, language, length and latency: the route adds them from the completion's trail, while that is in memory.
"""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, Discriminator, Field, Tag

from acepilot.errors import NotFound
from acepilot.events import MAX_NAME_CHARS, CompletionEvent, EventBatch, Kind
from acepilot.trail import Trail
from server.client import client_of
from server.routes.body import JsonRoute
from server.state import ServerState, State

router = APIRouter(prefix="/v1", tags=["events"], route_class=JsonRoute)

TABBY_KINDS: dict[str, Kind] = {"view": "shown", "select": "accepted", "dismiss": "rejected"}

SelectKind = Annotated[
    str | None, Field(max_length=16, description="With `select`: `line` when only a part was accepted.")
]


class TabbyEvent(BaseModel):
    """One event of Tabby's agent. It also sends `view_id` and `elapsed`, which are ignored."""

    type: Literal["view", "select", "dismiss"]
    completion_id: str = Field(min_length=1, max_length=MAX_NAME_CHARS)
    choice_index: int = Field(default=0, ge=0, le=64)
    select_kind: SelectKind = None


class EventsTaken(BaseModel):
    taken: int = Field(description="Number of different events that were taken.")


def _shape(body: Any) -> str:
    is_batch = isinstance(body, EventBatch) or (isinstance(body, dict) and "events" in body)
    return "batch" if is_batch else "tabby"


Events = Annotated[
    Annotated[EventBatch, Tag("batch")] | Annotated[TabbyEvent, Tag("tabby")], Discriminator(_shape), Body()
]


@router.post("/events")
async def events(
    body: Events, request: Request, state: State, select_kind: Annotated[SelectKind, Query()] = None
) -> EventsTaken:
    """Some of Tabby's clients send `select_kind` in the query, some in the body, some in both."""
    if isinstance(body, EventBatch):
        found = body.events
    else:
        is_part = bool(body.select_kind or select_kind)
        found = [_from_tabby(body, is_part, request.headers.get("User-Agent", ""), state)]
    client = client_of(request.scope, state.settings.token)
    return EventsTaken(taken=state.events.put(found, client.share))


def _from_tabby(event: TabbyEvent, is_part: bool, client: str, state: ServerState) -> CompletionEvent:
    kind = TABBY_KINDS[event.type]
    if kind == "accepted" and is_part:
        kind = "partly_accepted"
    trail = _trail(event.completion_id, state)
    lengths = dict(enumerate(trail.offered_chars)) if trail else {}
    shown_chars = lengths.get(event.choice_index, 0)
    return CompletionEvent(
        completion_id=event.completion_id,
        choice=event.choice_index,
        kind=kind,
        at=time.time(),
        model=trail.model[:MAX_NAME_CHARS] if trail else "",
        language=(trail.language or "") if trail else "",
        client=client[:MAX_NAME_CHARS],
        shown_chars=shown_chars,
        chars=shown_chars if kind == "accepted" else 0,  # the length of a part is not known
        latency_ms=trail.total_ms if trail and kind == "shown" else None,
    )


def _trail(completion_id: str, state: ServerState) -> Trail | None:
    """Return the completion's trail; None if it is too old, from another server or from before a restart."""
    try:
        return state.trails.get(completion_id)
    except NotFound:
        return None
