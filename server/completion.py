"""One accepted request, and what is told of it as it goes: service.py tells, every route listens."""

import time
from dataclasses import dataclass

from acepilot.protocol import AcepilotInfo, CompletionRequest, FinishReason, LogProbs, Trail, Usage
from server.plan import Plan


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


Event = Piece | Done | Completed


class Completion:
    """One accepted request; `id` is known before the first event, and opens its trail."""

    def __init__(self, request: CompletionRequest, plan: Plan, trail: Trail) -> None:
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
