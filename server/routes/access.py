"""What a route may ask of its request: the server's state, and that the client may be here."""

import secrets
from typing import Annotated

from fastapi import Depends, Request

from acepilot.errors import Unauthorized
from server.state import ServerState


def state_of(request: Request) -> ServerState:
    return request.app.state.server


State = Annotated[ServerState, Depends(state_of)]


def demand_token(request: Request, state: State) -> None:
    """Raises Unauthorized unless the bearer token is right, or none is set."""
    token = state.settings.token
    if token is None:
        return
    given = request.headers.get("authorization", "")
    expected = f"Bearer {token.get_secret_value()}"
    if not secrets.compare_digest(given.encode(), expected.encode()):
        raise Unauthorized("This server wants its token: send `Authorization: Bearer <ACEPILOT_TOKEN>`.")
