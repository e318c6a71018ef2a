"""One completion, from request to response: prompt -> cache or engine -> early stop -> filters.

`CompletionService.stream` yields `Piece`s as the text grows, then one `Done`; every protocol's route turns
these into its own form. Closing the stream frees the engine. Each completion leaves a `Trail`.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import structlog

from acepilot.completion_cache import CompletionCache
from acepilot.postprocess.chain import EarlyStop, finish
from acepilot.protocol import AcepilotInfo, CacheSource, CompletionRequest, FinishReason, Trail, Usage
from server.admission import Admission
from server.engine.base import Engine, GenerationRequest
from server.metrics import Metrics
from server.plan import Plan, plan
from server.stop_strings import StopStrings
from server.trails import Trails

CACHE_CAPACITY = 512

_log = structlog.get_logger()


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


class CompletionService:
    def __init__(
        self, engine: Engine, admission: Admission, metrics: Metrics, trails: Trails, budget_tokens: int
    ) -> None:
        self.engine = engine
        self._admission = admission
        self._metrics = metrics
        self._trails = trails
        self._budget_tokens = budget_tokens
        self._cache = CompletionCache(CACHE_CAPACITY)

    def accept(self, request: CompletionRequest) -> Completion:
        """Plans the request and reserves its place in the queue, which `stream` gives back.

        Raises BadRequest, or Overloaded when the queue is full. Begin to read `stream` at once: without an
        await between, the place cannot be lost.
        """
        info = self.engine.info
        try:
            planned = plan(request, self.engine, self._budget_tokens)
            self._admission.reserve(request.n)
        except Exception:
            self._metrics.completions.labels("refused").inc()
            raise
        trail = Trail(
            id=f"cmpl-{uuid.uuid4().hex[:24]}",
            model=info.model,
            engine=info.engine,
            language=planned.language_id,
            mode=planned.mode,
            prompt=planned.report,
        )
        self._trails.put(trail)
        return Completion(request, planned, trail)

    async def stream(self, completion: Completion) -> AsyncGenerator[Event, None]:
        """Pieces of all choices as they come, each choice's Done, and Completed. Raises EngineFailed."""
        trail = completion.trail
        outcome = "cancelled"
        try:
            cached = self._cached(completion)
            if cached is not None:
                if cached:
                    yield Piece(0, cached)
                final = cached
                yield Done(0, final, "stop")
            else:
                final = ""
                async with contextlib.aclosing(self._generate_all(completion)) as events:
                    async for event in events:
                        if isinstance(event, Done) and event.index == 0:
                            final = event.text
                        yield event
            trail.reason = trail.reason or _offer(final, trail)
            outcome = "offered" if final else "nothing"
            yield Completed(_usage(completion), _info(completion, final))
        except Exception as error:
            outcome = "failed"
            trail.reason = f"Nothing: {error}"
            raise
        finally:
            self._admission.release(completion.request.n)
            self._account(completion, outcome)

    def _cached(self, completion: Completion) -> str | None:
        request, plan = completion.request, completion.plan
        if plan.context is None or request.temperature > 0 or request.n > 1:
            return None
        hit = self._cache.get(request.prompt, request.suffix or "", plan.salt)
        if hit is None:
            return None
        source: CacheSource = "typed_through" if hit.typed else "response"
        completion.trail.cache = source
        completion.trail.finish_reason = "stop"
        self._metrics.cache_hits.labels(source).inc()
        return hit.text

    async def _generate_all(self, completion: Completion) -> AsyncGenerator[Piece | Done, None]:
        """Merges the streams of all `n` choices."""
        if completion.request.n == 1:
            async with contextlib.aclosing(self._generate(completion, 0)) as events:
                async for event in events:
                    yield event
            return
        merged: asyncio.Queue[Piece | Done | Exception] = asyncio.Queue()

        async def forward(index: int) -> None:
            try:
                async with contextlib.aclosing(self._generate(completion, index)) as events:
                    async for event in events:
                        merged.put_nowait(event)
            except Exception as error:  # handed to whoever reads the merged stream
                merged.put_nowait(error)

        tasks = [asyncio.create_task(forward(index)) for index in range(completion.request.n)]
        try:
            running = len(tasks)
            while running:
                event = await merged.get()
                if isinstance(event, Exception):
                    raise event
                running -= isinstance(event, Done)
                yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _generate(self, completion: Completion, index: int) -> AsyncGenerator[Piece | Done, None]:
        request, plan, trail = completion.request, completion.plan, completion.trail
        seed = request.seed if request.seed is not None else uuid.uuid4().int
        generation = GenerationRequest(
            prompt=plan.prompt,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=(seed + index) % 2**31,
        )
        gate = _Gate(request, plan)
        shown = 0
        finish_reason: FinishReason = "stop"
        async with self._admission.place() as waited_s:
            self._metrics.queue.observe(waited_s)
            trail.queue_ms = max(trail.queue_ms, waited_s * 1000)
            async with contextlib.aclosing(self.engine.generate(generation)) as deltas:
                async for delta in deltas:
                    completion.completion_tokens += delta.tokens
                    if trail.first_token_ms is None:
                        trail.first_token_ms = completion.elapsed_ms()
                    visible = gate.feed(delta.text, last=delta.finish is not None)
                    if visible > shown:
                        yield Piece(index, gate.text[shown:visible])
                        shown = visible
                    finish_reason = delta.finish or finish_reason
                    if gate.stopped_by:
                        finish_reason = "stop"
                        break
        text = gate.text[:shown]
        if index == 0:
            trail.early_stop = gate.stopped_by
            trail.finish_reason = finish_reason
        if plan.context is not None:
            outcome = finish(text, plan.context, truncated=finish_reason == "length")
            text = outcome.text
            if index == 0:
                trail.filters = list(outcome.filters)
                trail.reason = f"Nothing: {outcome.reason}" if outcome.reason else ""
            # What max_tokens cut off would be offered again as if it were whole.
            if request.temperature == 0 and request.n == 1 and finish_reason == "stop":
                self._cache.put(request.prompt, request.suffix or "", plan.salt, text)
        yield Done(index, text, finish_reason)

    def _account(self, completion: Completion, outcome: str) -> None:
        trail, metrics = completion.trail, self._metrics
        trail.generated_tokens = completion.completion_tokens
        trail.total_ms = completion.elapsed_ms()
        metrics.completions.labels(outcome).inc()
        metrics.generated_tokens.inc(completion.completion_tokens)
        metrics.total.observe(trail.total_ms / 1000)
        if trail.first_token_ms is not None:
            metrics.first_token.observe(trail.first_token_ms / 1000)
        if outcome == "cancelled":
            trail.finish_reason = "cancelled"
            trail.reason = "Nothing: the client went away before the end."
            metrics.wasted_tokens.inc(completion.completion_tokens)
        _log.info(
            "completion",
            id=trail.id,
            outcome=outcome,
            mode=trail.mode,
            language=trail.language,
            cache=trail.cache,
            prompt_tokens=completion.plan.prompt_tokens,
            generated_tokens=trail.generated_tokens,
            early_stop=trail.early_stop,
            first_token_ms=round(trail.first_token_ms) if trail.first_token_ms is not None else None,
            total_ms=round(trail.total_ms),
        )


class _Gate:
    """Decides, as text grows, how much of it may be shown: stop strings always, early stops for editors."""

    def __init__(self, request: CompletionRequest, plan: Plan) -> None:
        self.text = ""
        self.stopped_by: str | None = None
        self._strings = StopStrings(request.stop)
        self._early = EarlyStop(plan.context) if plan.context is not None else None

    def feed(self, fresh: str, *, last: bool) -> int:
        """Characters of `text` that may be shown. The `last` time all may be, unless something stopped."""
        self.text += fresh
        visible, stopped = self._strings.feed(self.text)
        if stopped:
            self.stopped_by = "stop_string"
        if self._early is not None:
            progress = self._early.feed(self.text[:visible])
            visible = min(visible, progress.visible)
            self.stopped_by = progress.stopped_by or self.stopped_by
        if last and not self.stopped_by:
            return len(self.text)
        return visible


def _usage(completion: Completion) -> Usage:
    prompt_tokens, completion_tokens = completion.plan.prompt_tokens, completion.completion_tokens
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
    )


def _info(completion: Completion, final: str) -> AcepilotInfo:
    trail = completion.trail
    return AcepilotInfo(
        clipped=completion.plan.report.clipped, text=final, cache=trail.cache, reason=trail.reason
    )


def _offer(final: str, trail: Trail) -> str:
    if trail.cache != "none":
        how = "from the cache"
    elif trail.early_stop:
        how = f"ended by {trail.early_stop}"
    elif trail.finish_reason == "length":
        how = "ended by max_tokens"
    else:
        how = "ended by the model itself"
    return f"{'Offered' if final else 'Nothing to offer'}: {len(final)} characters, {how}."
