"""One completion, from request to response: prompt -> cache or engine -> early stop -> filters.

`CompletionService.complete` calls its route's `emit` with each new piece of text and each finished choice;
each protocol's route turns these into its own form. Cancelling `complete` frees the engine within one step.
Each completion leaves a `Trail`.
"""

import contextlib
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable

import structlog

from acepilot.completion_cache import CompletionCache
from acepilot.errors import AcepilotError, Overloaded
from acepilot.postprocess.chain import finish
from acepilot.protocol import CacheSource, Choice, CompletionRequest
from server.admission import Admission
from server.client import Client
from server.completion import ActiveCompletion, Emit, Trails, discard, offered
from server.engine.base import Engine, GenerationRequest
from server.fair_threads import FairThreads
from server.log_probs import log_probs
from server.metrics import Metrics
from server.options import ServiceOptions
from server.plan import plan
from server.prompt_window import Windows
from server.settings import ServerSettings
from server.stop_monitor import GeneratedText, StopMonitor
from server.suffix_choice import Gap, candidates, choose, together

UNEXPECTED = "Nothing: an unexpected error ended this completion. The server's log has it."
"""A trail never quotes an error that is not our own: its text may hold the user's code."""

MAX_PLANNING = 64
"""Requests of one client that are planned or wait for it: more than admission would let in."""

_log = structlog.get_logger()


class CompletionService:
    def __init__(
        self,
        engine: Engine,
        settings: ServerSettings,
        options: ServiceOptions,
        admission: Admission,
        metrics: Metrics,
        trails: Trails,
    ) -> None:
        self.engine = engine
        self._settings = settings
        self._options = options
        self._admission = admission
        self._metrics = metrics
        self._trails = trails
        self._windows = Windows()
        self._threads = FairThreads()
        self._cache = CompletionCache(options.cache_entries)

    @contextlib.asynccontextmanager
    async def accept(self, request: CompletionRequest, client: Client) -> AsyncGenerator[ActiveCompletion]:
        """Plan the request, and hold its place in the queue until the block ends.

        Raises BadRequest, or Overloaded when the queue is full.
        """
        with contextlib.ExitStack() as stack:
            try:
                in_hand, cache_salt = self._admission.in_hand, client.cache_salt(request.cache_salt)
                if self._threads.waiting[client.share] >= MAX_PLANNING:
                    raise Overloaded(
                        f"{MAX_PLANNING} requests of yours are at their start: try again in 1 s, or send "
                        "fewer at a time.",
                        retry_after_s=1,
                    )
                planned = await self._threads.run(
                    client, plan, request, self.engine, self._settings, self._windows, in_hand, cache_salt
                )
                is_editor = planned.context is not None and request.n == 1
                stack.enter_context(self._admission.reserved(client, planned.sequences, is_editor=is_editor))
            except Exception:
                self._metrics.completions.labels("refused").inc()
                raise
            self._trails.put(planned.trail, client)
            yield ActiveCompletion(request, planned, client, self._options.completion_timeout_s)

    async def complete(self, completion: ActiveCompletion, emit: Emit) -> None:
        """Generate all choices, and `emit` their pieces as they come and each choice when it is finished.

        Raises EngineFailed, Overloaded after too long a wait for the engine, CompletionTooSlow.
        """
        trail = completion.trail
        outcome = "cancelled"
        try:
            await self._answer(completion, emit)
            trail.reason = trail.reason or offered(completion.text, trail)
            outcome = "offered" if completion.text else "nothing"
        except Exception as error:
            outcome = "failed"
            trail.reason = f"Nothing: {error}" if isinstance(error, AcepilotError) else UNEXPECTED
            raise
        finally:
            self._account(completion, outcome)

    async def _answer(self, completion: ActiveCompletion, emit: Emit) -> None:
        request, plan = completion.request, completion.plan
        if (cached := self._cached(completion)) is not None:
            known = [Choice(index=0, text=cached, finish_reason="stop")]
        elif not plan.prompt:  # a new file: the editor made no mistake, and the engine has no work
            known = completion.nothing("stop", "Nothing: there is nothing to go on from yet.")
        elif request.max_tokens == 0:
            warm_up = GenerationRequest(plan.prompt, max_tokens=1, cache_salt=plan.cache_salt)
            await self._run(completion, warm_up, discard)
            completion.completion_tokens = 0  # engines read by generating; nobody gets that token
            known = completion.nothing(
                "length", "Nothing: the prompt was only read ahead, as requested (max_tokens is 0)."
            )
        elif plan.gap:
            known = [await self._choose(completion, plan.gap)]
        else:
            await together(self._generate(completion, index, emit) for index in range(request.n))
            return
        for choice in known:
            if choice.text:
                await emit(Choice(index=choice.index, text=choice.text))
            completion.add(choice)
            await emit(choice)

    def _cached(self, completion: ActiveCompletion) -> str | None:
        key = completion.plan.cache_key
        if key is None or (hit := self._cache.get(key)) is None:
            return None
        source: CacheSource = "typed_through" if hit.typed else "response"
        completion.trail.cache = source
        completion.trail.finish_reason = "stop"
        self._metrics.cache_hits.labels(source).inc()
        return hit.text

    async def _generate(self, completion: ActiveCompletion, index: int, emit: Emit) -> None:
        """Generate one choice, and emit it as it grows."""
        request = completion.request
        seed = request.seed if request.seed is not None else uuid.uuid4().int
        generation = GenerationRequest(
            prompt=completion.plan.prompt,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=(seed + index) % 2**31,
            cache_salt=completion.plan.cache_salt,
        )
        generated = await self._run(completion, generation, lambda text: emit(Choice(index=index, text=text)))
        choice = await self._finished(completion, index, generated)
        if request.logprobs is not None:
            async with self._place(completion):
                scoring = log_probs(self.engine, generation.prompt, choice.text, generation.cache_salt)
                choice.logprobs = await completion.in_time(scoring)
        completion.add(choice)
        await emit(choice)

    async def _choose(self, completion: ActiveCompletion, gap: Gap) -> Choice:
        """Generate several drafts and choose one when all are finished: see suffix_choice.py."""
        plan, trail = completion.plan, completion.trail
        max_tokens, salt = completion.request.max_tokens, plan.cache_salt
        generations = candidates(plan.prompt, gap, max_tokens, plan.sequences, salt)
        drafts = await together(self._run(completion, generation, discard) for generation in generations)
        async with self._place(completion):
            chosen = await completion.in_time(choose(self.engine, gap, drafts, plan.context, salt))
        trail.suffix_choice = chosen.report
        self._metrics.scored_tokens.inc(chosen.report.scored_tokens)
        choice = await self._finished(completion, 0, chosen.draft)
        trail.reason = chosen.reason or trail.reason
        return choice

    async def _run(
        self,
        completion: ActiveCompletion,
        generation: GenerationRequest,
        show: Callable[[str], Awaitable[None]],
    ) -> GeneratedText:
        """Run one sequence in the engine until it ends or a stop fires; `show` the text that may be shown."""
        request, trail = completion.request, completion.trail
        monitor = StopMonitor(
            request.stop, completion.plan.context, self._options.early_stops, request.time_limit_ms
        )
        async with self._place(completion) as waited_s:
            self._metrics.queue.observe(waited_s)
            trail.queue_ms = max(trail.queue_ms, waited_s * 1000)
            async with contextlib.aclosing(self.engine.generate(generation)) as deltas:
                while (delta := await completion.in_time(anext(deltas, None))) is not None:
                    completion.completion_tokens += delta.tokens
                    if trail.first_token_ms is None:
                        trail.first_token_ms = completion.elapsed_ms()
                    if fresh := monitor.feed(delta):
                        await show(fresh)
                    if monitor.over:
                        break
        return monitor.generated

    def _place(self, completion: ActiveCompletion) -> contextlib.AbstractAsyncContextManager[float]:
        return self._admission.place(completion.client, is_editor=completion.plan.context is not None)

    async def _finished(self, completion: ActiveCompletion, index: int, generated: GeneratedText) -> Choice:
        """Filter a generated text. The cache keeps the result, and the trail says how it came about."""
        plan, trail = completion.plan, completion.trail
        text = generated.text
        if index == 0:
            trail.early_stop = generated.stopped_by
            trail.finish_reason = generated.finish_reason
        if plan.context is not None:
            outcome = await self._threads.run(
                completion.client,
                finish,
                text,
                plan.context,
                truncated=generated.finish_reason == "length",
                hidden_chars=generated.hidden_chars,
            )
            text = outcome.text
            if index == 0:
                trail.filters = list(outcome.filters)
                trail.reason = f"Nothing: {outcome.reason}" if outcome.reason else ""
            # A text that max_tokens cut off must not be offered again as if it were whole.
            if plan.cache_key is not None and generated.finish_reason == "stop":
                self._cache.put(plan.cache_key, text)
        return Choice(index=index, text=text, finish_reason=generated.finish_reason)

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
