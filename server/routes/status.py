"""What the server says about itself, its model and its answers, to probes, Prometheus and clients."""

import time

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from acepilot import __version__
from acepilot.protocol import Health, ModelCard, ModelList, Ready
from acepilot.trail import Trail
from server.state import State

router = APIRouter()
STARTED = int(time.time())


@router.get("/health", tags=["health"])
async def health() -> Health:
    return Health(version=__version__)


@router.get("/ready", tags=["health"], responses={503: {"model": Ready}})
async def ready(state: State, response: Response) -> Ready:
    answer = state.ready()
    if answer.status != "ready":
        response.status_code = 503
    return answer


@router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
async def metrics(state: State) -> Response:
    return Response(generate_latest(state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/models", tags=["models"])
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


@router.get("/v1/explain/{completion_id}", tags=["models"])
async def explain(completion_id: str, state: State) -> Trail:
    return state.trails.get(completion_id)
