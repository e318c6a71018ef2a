"""One completion, from request to response: prompt -> cache or engine -> early stop -> filters.

`CompletionService.stream` yields `Piece`s as the text grows, then one `Done`; every protocol's route turns
these into its own form. Closing the stream frees the engine. Each completion leaves a `Trail`.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator
from dataclasses import replace

import structlog

from acepilot.completion_cache import CompletionCache
from acepilot.postprocess.chain import finish
from acepilot.protocol import CacheSource, CompletionRequest, Trail
from server.admission import Admission
from server.completion import ActiveCompletion, Completed, Done, Piece, StreamItem, offered
from server.engine.base import Engine, EngineInfo, GenerationRequest
from server.log_probs import log_probs
from server.metrics import Metrics
from server.plan import Limits, plan
from server.stop_monitor import GeneratedText, StopMonitor
from server.suffix_choice import Gap, candidates, choose, together
from server.trails import Trails
from server.window import Windows

CACHE_CAPACITY = 512

_log = structlog.get_logger()


class CompletionService:
    def __init__(
        self,
        engine: Engine,
        admission: Admission,
        metrics: Metrics,
        trails: Trails,
        *,
        budget_tokens: int,
        suffix_candidates: int,
    ) -> None:
        self.engine = engine
        self._admission = admission
        self._metrics = metrics
        self._trails = trails
        self._limits = Limits(budget_tokens, suffix_candidates)
        self._windows = Windows()
        self._cache = CompletionCache(CACHE_CAPACITY)

    @property
    def info(self) -> EngineInfo:
        return self.engine.info

    def accept(self, request: CompletionRequest) -> ActiveCompletion:
        """Plans the request and reserves its place in the queue, which `stream` gives back.

        Raises BadRequest, or Overloaded when the queue is full. Begin to read `stream` at once: without an
        await between, the place cannot be lost.
        """
        info = self.engine.info
        try:
            in_hand = self._admission.active + self._admission.waiting
            planned = plan(request, self.engine, self._limits, self._windows, in_hand)
            self._admission.reserve(planned.sequences)
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
            offered_chars=[0] * request.n,
        )
        self._trails.put(trail)
        return ActiveCompletion(request, planned, trail)

    async def stream(self, completion: ActiveCompletion) -> AsyncGenerator[StreamItem, None]:
        """Pieces of all choices as they come, each choice's Done, and Completed.

        Raises EngineFailed, Overloaded after too long a wait in the queue, CompletionTooSlow.
        """
        trail = completion.trail
        outcome = "cancelled"
        try:
            cached = self._cached(completion)
            if cached is not None:
                if cached:
                    yield Piece(0, cached)
                final = cached
                done = Done(0, final, "stop")
                completion.note(done)
                yield done
            else:
                final = ""
                async with contextlib.aclosing(self._generate_all(completion)) as events:
                    async for event in events:
                        if isinstance(event, Done):
                            completion.note(event)
                            final = event.text if event.index == 0 else final
                        yield event
            trail.reason = trail.reason or offered(final, trail)
            outcome = "offered" if final else "nothing"
            yield Completed(completion.usage(), completion.info(final))
        except Exception as error:
            outcome = "failed"
            trail.reason = f"Nothing: {error}"
            raise
        finally:
            self._admission.release(completion.plan.sequences)
            self._account(completion, outcome)

    def _cached(self, completion: ActiveCompletion) -> str | None:
        request, plan = completion.request, completion.plan
        if plan.context is None or request.temperature > 0 or request.n > 1 or not request.max_tokens:
            return None
        hit = self._cache.get(request.prompt, request.suffix or "", plan.salt)
        if hit is None:
            return None
        source: CacheSource = "typed_through" if hit.typed else "response"
        completion.trail.cache = source
        completion.trail.finish_reason = "stop"
        self._metrics.cache_hits.labels(source).inc()
        return hit.text

    async def _generate_all(self, completion: ActiveCompletion) -> AsyncGenerator[Piece | Done, None]:
        """Merges the streams of all `n` choices."""
        if not completion.plan.prompt:  # a new file: no mistake of the editor's, and no work for the engine
            completion.trail.finish_reason = "stop"
            completion.trail.reason = "Nothing: there is nothing to go on from yet."
            for index in range(completion.request.n):
                yield Done(index, "", "stop")
            return
        if completion.request.max_tokens == 0:
            await self._read_ahead(completion)
            for index in range(completion.request.n):
                yield Done(index, "", "length")
            return
        if completion.request.n == 1:
            gap = completion.plan.gap
            only = self._choose(completion, gap) if gap else self._generate(completion, 0)
            async with contextlib.aclosing(only) as events:
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

    async def _read_ahead(self, completion: ActiveCompletion) -> None:
        """Leaves the prompt in the engine's KV cache. Engines read by generating; that token is nobody's."""
        trail = completion.trail
        gate = StopMonitor((), None)
        generation = GenerationRequest(completion.plan.prompt, max_tokens=1)
        async with contextlib.aclosing(self._texts(completion, generation, gate)) as texts:
            async for _ in texts:
                pass
        completion.completion_tokens = 0
        trail.finish_reason = "length"
        trail.reason = "Nothing: the prompt was only read ahead, as asked (max_tokens is 0)."

    async def _generate(self, completion: ActiveCompletion, index: int) -> AsyncGenerator[Piece | Done, None]:
        """One choice, shown as it grows."""
        request = completion.request
        seed = request.seed if request.seed is not None else uuid.uuid4().int
        generation = GenerationRequest(
            prompt=completion.plan.prompt,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=(seed + index) % 2**31,
        )
        gate = StopMonitor(request.stop, completion.plan.context, request.time_limit_ms)
        async with contextlib.aclosing(self._texts(completion, generation, gate)) as texts:
            async for text in texts:
                yield Piece(index, text)
        done = self._finish(completion, index, gate.draft)
        if request.logprobs is not None:
            async with self._admission.place():
                scored = log_probs(self.engine, generation.prompt, done.text)
                done = replace(done, log_probs=await completion.in_time(scored))
        yield done

    async def _choose(self, completion: ActiveCompletion, gap: Gap) -> AsyncGenerator[Piece | Done, None]:
        """One choice among several drafts, known when they are all there: see suffix_choice.py."""
        plan, trail = completion.plan, completion.trail

        async def whole(generation: GenerationRequest) -> GeneratedText:
            gate = StopMonitor(completion.request.stop, plan.context, completion.request.time_limit_ms)
            async with contextlib.aclosing(self._texts(completion, generation, gate)) as texts:
                async for _ in texts:
                    pass
            return gate.draft

        generations = candidates(plan.prompt, gap, completion.request.max_tokens, plan.sequences)
        drafts = await together(whole(generation) for generation in generations)
        async with self._admission.place():
            chosen = await completion.in_time(choose(self.engine, gap, drafts, plan.context))
        trail.suffix_choice = chosen.report
        self._metrics.scored_tokens.inc(chosen.report.scored_tokens)
        done = self._finish(completion, 0, chosen.draft)
        trail.reason = chosen.reason or trail.reason
        if done.text:
            yield Piece(0, done.text)
        yield done

    async def _texts(
        self, completion: ActiveCompletion, generation: GenerationRequest, gate: StopMonitor
    ) -> AsyncGenerator[str, None]:
        """One sequence of the engine: what of it may be shown, as it comes, until `gate` has enough."""
        trail = completion.trail
        async with self._admission.place() as waited_s:
            self._metrics.queue.observe(waited_s)
            trail.queue_ms = max(trail.queue_ms, waited_s * 1000)
            async with contextlib.aclosing(self.engine.generate(generation)) as deltas:
                while (delta := await completion.in_time(anext(deltas, None))) is not None:
                    completion.completion_tokens += delta.tokens
                    if trail.first_token_ms is None:
                        trail.first_token_ms = completion.elapsed_ms()
                    if fresh := gate.feed(delta):
                        yield fresh
                    if gate.over:
                        break

    def _finish(self, completion: ActiveCompletion, index: int, draft: GeneratedText) -> Done:
        """What is offered of a draft. The cache keeps it, and the trail why it is as it is."""
        request, plan, trail = completion.request, completion.plan, completion.trail
        text = draft.text
        if index == 0:
            trail.early_stop = draft.stopped_by
            trail.finish_reason = draft.finish_reason
        if plan.context is not None:
            outcome = finish(text, plan.context, truncated=draft.finish_reason == "length")
            text = outcome.text
            if index == 0:
                trail.filters = list(outcome.filters)
                trail.reason = f"Nothing: {outcome.reason}" if outcome.reason else ""
            # What max_tokens cut off would be offered again as if it were whole.
            if request.temperature == 0 and request.n == 1 and draft.finish_reason == "stop":
                self._cache.put(request.prompt, request.suffix or "", plan.salt, text)
        return Done(index, text, draft.finish_reason)

    def _account(self, completion: ActiveCompletion, outcome: str) -> None:
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
