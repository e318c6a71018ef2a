"""An engine's worker process that is killed while it has a request to answer."""

import asyncio
import os
import signal

from server.engine.base import GenerationRequest
from server.engine.local import LocalEngine


async def kill_while_answering(engine: LocalEngine, request: GenerationRequest) -> None:
    """Kill the process that has `request`, and raise what its stream raises then.

    The process is stopped before the request is sent. A small model writes its whole text within a third of a
    second, and on a busy machine the kill came later than that.
    """
    pid = engine._steps._process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    answer = asyncio.create_task(_read(engine, request))
    while not (engine.load().active or answer.done()):  # noqa: ASYNC110 - an engine has no event for this
        await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    await answer


async def _read(engine: LocalEngine, request: GenerationRequest) -> None:
    async for _ in engine.generate(request):
        pass
