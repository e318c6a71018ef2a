"""One accepted request while service.py answers it, and the trails of the last ones."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from acepilot.errors import AcepilotError, NotFound
from acepilot.events import utf16
from acepilot.protocol import AcepilotInfo, Choice, CompletionRequest, Usage
from acepilot.trail import Trail
from server.client import Client
from server.plan import RequestPlan

T = TypeVar("T")

TRAILS = 1024
"""Trails kept, some 1 kB each: enough to ask about any completion of the last minutes."""


class CompletionTooSlow(AcepilotError):
    code = "completion_too_slow"
    status = 500  # not 504, which says that a proxy does not reach the server


Emit = Callable[[Choice], Awaitable[None]]
"""Takes each new piece of a choice's text, without a `finish_reason`, and then the finished choice."""


async def discard(item: object) -> None:
    """Emit nothing: the text is wanted whole, or not at all."""


class ActiveCompletion:
    """One accepted request. `choices` are the finished ones."""

    def __init__(
        self, request: CompletionRequest, plan: RequestPlan, client: Client, timeout_s: float
    ) -> None:
        self.request = request
        self.plan = plan
        self.client = client
        self.trail = plan.trail
        self.created = int(time.time())
        self.completion_tokens = 0
        self.choices: list[Choice] = []
        self._timeout_s = timeout_s
        self._began = time.perf_counter()

    @property
    def text(self) -> str:
        """The text of choice 0, empty until that choice is finished."""
        return next((choice.text for choice in self.choices if choice.index == 0), "")

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self._began) * 1000

    def left_s(self) -> float:
        """Return the seconds until the completion must end."""
        return self._timeout_s - self.elapsed_ms() / 1000

    async def in_time(self, work: Awaitable[T]) -> T:
        """Wait for the engine's `work`. Raises CompletionTooSlow when the completion's time runs out."""
        try:
            async with asyncio.timeout(self.left_s()):
                return await work
        except TimeoutError:
            raise CompletionTooSlow(
                f"The completion took longer than {self._timeout_s:.0f} s and was stopped. Ask for fewer "
                "tokens, or check whether the model's machine is overloaded."
            ) from None

    def nothing(self, finish_reason: Literal["stop", "length"], reason: str) -> list[Choice]:
        """Note in the trail why nothing is offered, and return an empty text for each choice."""
        self.trail.finish_reason = finish_reason
        self.trail.reason = reason
        return [Choice(index=index, text="", finish_reason=finish_reason) for index in range(self.request.n)]

    def add(self, choice: Choice) -> None:
        """Keep a finished choice, and its length for the events that clients send about it later."""
        self.choices.append(choice)
        self.trail.offered_chars[choice.index] = utf16(choice.text)

    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self.plan.prompt_tokens,
            completion_tokens=self.completion_tokens,
            total_tokens=self.plan.prompt_tokens + self.completion_tokens,
        )

    def info(self, text: str | None = None) -> AcepilotInfo:
        """Return Acepilot's part of the response; a stream's has the final `text`."""
        trail = self.trail
        clipped = self.plan.report.clipped
        return AcepilotInfo(clipped=clipped, text=text, cache=trail.cache, reason=trail.reason)


def offered(text: str, trail: Trail) -> str:
    """Return the trail's sentence for a text that the filters let through, or for an empty one."""
    if trail.cache != "none":
        how = "from the cache"
    elif trail.early_stop:
        how = f"ended by {trail.early_stop}"
    elif trail.finish_reason == "length":
        how = "ended by max_tokens"
    else:
        how = "ended by the model itself"
    return f"{'Offered' if text else 'Nothing to offer'}: {len(text)} characters, {how}."


class Trails:
    """The trails of the last completions, in memory only: `GET /v1/explain/{id}` reads them.

    When they are too many, the client that has most loses its oldest one.
    """

    def __init__(self) -> None:
        self._trails: dict[str, Trail] = {}
        self._ids: dict[str, deque[str]] = {}

    def put(self, trail: Trail, client: Client) -> None:
        self._trails[trail.id] = trail
        self._ids.setdefault(client.share, deque()).append(trail.id)
        if len(self._trails) > TRAILS:
            most, ids = max(self._ids.items(), key=lambda item: len(item[1]))
            del self._trails[ids.popleft()]
            if not ids:
                del self._ids[most]

    def get(self, completion_id: str) -> Trail:
        """Return the trail of a completion. Raises NotFound."""
        trail = self._trails.get(completion_id)
        if trail is None:
            raise NotFound(
                f"There is no completion `{completion_id}` in memory. The server remembers the last "
                f"{TRAILS} completions since its start."
            )
        return trail
