"""How a route gets the server's state."""

from typing import Annotated

from fastapi import Depends, Request

from server.state import ServerState


def state_of(request: Request) -> ServerState:
    return request.app.state.server


State = Annotated[ServerState, Depends(state_of)]
