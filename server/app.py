"""The web app: routes, errors, and the model, which loads while the app already answers."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from acepilot import __version__
from acepilot.protocol import ErrorResponse
from server.engine.base import Engine
from server.options import DEFAULT_OPTIONS, ServiceOptions
from server.routes import chat, copilot, events, infill, openai, playground, status, tabby
from server.routes.errors import ERROR_HANDLERS
from server.routes.guard import Guard
from server.settings import ServerSettings
from server.state import ServerState

OPEN_PATHS = frozenset({"/health", "/ready", *playground.FILES})
"""Paths that need no token: probes have none, and the playground's page asks for it."""

REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorResponse, "description": "The request was refused; the message says what to do."},
    "5XX": {"model": ErrorResponse, "description": "The model is not ready, or failed."},
    422: {"model": ErrorResponse, "description": "The message names each wrong field."},
}
LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"]


def create_app(
    settings: ServerSettings, load_engine: Callable[[], Engine], options: ServiceOptions = DEFAULT_OPTIONS
) -> FastAPI:
    """Return an app that calls `load_engine` in a thread when it has started."""
    state = ServerState(settings, load_engine, options)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        loading = asyncio.create_task(state.load())
        yield
        loading.cancel()
        await asyncio.to_thread(state.close)

    app = FastAPI(
        title="Acepilot",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=REFUSALS,
        exception_handlers=ERROR_HANDLERS,
    )
    app.state.server = state
    token = settings.token.get_secret_value() if settings.token else None
    app.add_middleware(Guard, token=token, open_paths=OPEN_PATHS, body_timeout_s=options.body_timeout_s)
    if token is None:
        # Else a web page could reach this server under a host name of its own (DNS rebinding).
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK_HOSTS, settings.host])
    for routes in (status, openai, tabby, infill, copilot, chat, events, playground):
        app.include_router(routes.router)
    return app
