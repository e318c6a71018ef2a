"""`/health`: the process runs. `/ready`: the model can serve. `/metrics`: for Prometheus."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from acepilot import __version__
from acepilot.protocol import Health, Ready
from server.state import State

router = APIRouter(tags=["health"])


@router.get("/health")
async def health() -> Health:
    return Health(version=__version__)


@router.get("/ready", responses={503: {"model": Ready}})
async def ready(state: State, response: Response) -> Ready:
    answer = state.ready()
    if answer.status != "ready":
        response.status_code = 503
    return answer


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(state: State) -> Response:
    return Response(generate_latest(state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
