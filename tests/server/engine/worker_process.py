"""The worker process of a local engine, as a test sees it: through `multiprocessing`."""

import asyncio
import os
import signal
from collections.abc import Callable
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from typing import TypeVar

from server.engine.base import Engine, GenerationRequest

E = TypeVar("E", bound=Engine)


def open_with_process(open_engine: Callable[[], E]) -> tuple[E, BaseProcess]:
    """Open an engine, and return it with the worker process that it has started."""
    before = set(active_children())
    engine = open_engine()
    [process] = set(active_children()) - before
    return engine, process


async def kill_while_answering(engine: Engine, process: BaseProcess, request: GenerationRequest) -> None:
    """Kill the engine's process while it has `request`, and raise the error that the request's stream raises.

    The process is stopped before the request is sent. A small model writes its whole text within a third of a
    second, and on a busy machine the kill would come too late.
    """
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    answer = asyncio.create_task(_read(engine, request))
    while not (engine.load().active or answer.done()):  # noqa: ASYNC110 - an engine has no event for this
        await asyncio.sleep(0)
    os.kill(process.pid, signal.SIGKILL)
    await answer


async def until_restarted(engine: Engine) -> None:
    while engine.load().trouble:  # noqa: ASYNC110 - an engine has no event for this
        await asyncio.sleep(0.02)


async def _read(engine: Engine, request: GenerationRequest) -> None:
    async for _ in engine.generate(request):
        pass
