"""What the server says about itself, its model and its answers, to probes, Prometheus and clients."""

import asyncio
import time

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from acepilot import __version__
from acepilot.events import ShortName
from acepilot.protocol import Health, ModelCard, ModelList, Ready
from acepilot.trail import Trail
from server.state import State

router = APIRouter()
STARTED = int(time.time())

SEE_LOG = "The reason is in the server's log, and here for a request with the token."
"""`/ready` needs no token, and a reason may name folders and other servers."""


@router.get("/health", tags=["health"])
async def health() -> Health:
    return Health(version=__version__)


@router.get("/ready", tags=["health"], responses={503: {"model": Ready}})
async def ready(request: Request, state: State, response: Response) -> Ready:
    answer = state.ready()
    if answer.detail and not request.state.has_token:
        answer.detail = SEE_LOG
    if answer.status != "ready":
        response.status_code = 503
    return answer


@router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
async def metrics(state: State) -> Response:
    text = await asyncio.to_thread(generate_latest, state.metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


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
async def explain(completion_id: ShortName, state: State) -> Trail:
    return state.trails.get(completion_id)
