"""One accepted request, and what is told of it as it goes: service.py tells, every route listens."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from acepilot.errors import AcepilotError
from acepilot.events import utf16
from acepilot.protocol import AcepilotInfo, CompletionRequest, FinishReason, LogProbs, Trail, Usage
from server.plan import RequestPlan

WHOLE_S = 900.0
"""From a request's arrival to its end: 4,096 tokens at five a second. An engine that hangs is left then."""

T = TypeVar("T")


class CompletionTooSlow(AcepilotError):
    code: ClassVar[str] = "completion_too_slow"
    status: ClassVar[int] = 500  # not 504, which says that a proxy does not reach the server


@dataclass(frozen=True)
class Piece:
    """New text of one choice."""

    index: int
    text: str


@dataclass(frozen=True)
class Done:
    """The end of one choice: its final text, after the filters."""

    index: int
    text: str
    finish_reason: FinishReason
    log_probs: LogProbs | None = None


@dataclass(frozen=True)
class Completed:
    """The end of a request, after every choice is `Done`."""

    usage: Usage
    info: AcepilotInfo


StreamItem = Piece | Done | Completed


class ActiveCompletion:
    """One accepted request; `id` is known before the first event, and opens its trail."""

    def __init__(self, request: CompletionRequest, plan: RequestPlan, trail: Trail) -> None:
        self.request = request
        self.plan = plan
        self.trail = trail
        self.began = time.perf_counter()
        self.created = int(time.time())
        self.completion_tokens = 0

    @property
    def id(self) -> str:
        return self.trail.id

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.began) * 1000

    def left_s(self) -> float:
        return WHOLE_S - self.elapsed_ms() / 1000

    async def in_time(self, work: Awaitable[T]) -> T:
        """What the engine does for this request, as long as there is time. Raises CompletionTooSlow."""
        try:
            async with asyncio.timeout(self.left_s()):
                return await work
        except TimeoutError:
            raise CompletionTooSlow(
                f"The completion was not at its end after {WHOLE_S:.0f} s: ask for fewer tokens, or see "
                "whether the model's machine is overloaded."
            ) from None

    def note(self, done: Done) -> None:
        """Keeps how long the text is that is offered, for what clients later tell of it."""
        self.trail.offered_chars[done.index] = utf16(done.text)

    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=self.plan.prompt_tokens,
            completion_tokens=self.completion_tokens,
            total_tokens=self.plan.prompt_tokens + self.completion_tokens,
        )

    def info(self, final: str) -> AcepilotInfo:
        return AcepilotInfo(
            clipped=self.plan.report.clipped, text=final, cache=self.trail.cache, reason=self.trail.reason
        )


def offered(final: str, trail: Trail) -> str:
    """The sentence for a text that the filters let through, or for none."""
    if trail.cache != "none":
        how = "from the cache"
    elif trail.early_stop:
        how = f"ended by {trail.early_stop}"
    elif trail.finish_reason == "length":
        how = "ended by max_tokens"
    else:
        how = "ended by the model itself"
    return f"{'Offered' if final else 'Nothing to offer'}: {len(final)} characters, {how}."
