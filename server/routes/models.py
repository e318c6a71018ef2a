"""`/v1/models`: the served model. `/v1/explain/{id}`: why a completion was offered, or why nothing."""

import time

from fastapi import APIRouter

from acepilot.protocol import ModelCard, ModelList
from acepilot.trail import Trail
from server.state import State

router = APIRouter(prefix="/v1", tags=["models"])
STARTED = int(time.time())


@router.get("/models")
async def models(state: State) -> ModelList:
    info = state.service.engine.info
    card = ModelCard(
        id=info.model,
        created=STARTED,
        engine=info.engine,
        context_tokens=info.context_tokens,
        fim=info.fim.name if info.fim else None,
    )
    return ModelList(data=[card])


@router.get("/explain/{completion_id}")
async def explain(completion_id: str, state: State) -> Trail:
    return state.trails.get(completion_id)
