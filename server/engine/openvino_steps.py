"""One thread that owns one openvino-genai pipeline and steps it for all streams at once.

It takes in new streams, makes one step, and hands each stream its tokens. Nobody else touches the pipeline,
so closing a stream takes effect before the next step.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import openvino
import openvino_genai as genai
from openvino_genai.py_openvino_genai import GenerationFinishReason, GenerationStatus

from acepilot.errors import EngineFailed
from server.engine.base import Delta


@dataclass
class Stream:
    """One request on its way through the engine's thread."""

    request_id: int
    token_ids: Any  # int64 [1, tokens]
    config: genai.GenerationConfig
    deliver: Any  # called in the engine's thread with a Delta or an exception
    handle: Any = None
    closed: bool = False
    ids: list[int] = field(default_factory=list[int])
    log_probs: list[float] = field(default_factory=list[float])
    window_start: int = 0
    read_end: int = 0


class StepLoop:
    """Continuous batching over `pipeline`: `stream` may be called from any event loop, any number at once."""

    def __init__(self, pipeline: genai.ContinuousBatchingPipeline) -> None:
        self._pipeline = pipeline
        self._tokenizer = pipeline.get_tokenizer()
        self._inbox: queue.SimpleQueue[Stream | None] = queue.SimpleQueue()
        self._active: list[Stream] = []
        self._next_id = 0
        self._closing = False
        self.kv_used_ratio = 0.0
        self._thread = threading.Thread(target=self._run, name="openvino-steps", daemon=True)
        self._thread.start()

    @property
    def active(self) -> int:
        return len(self._active)

    async def stream(
        self, token_ids: Any, config: genai.GenerationConfig
    ) -> AsyncGenerator[tuple[Delta, Stream], None]:
        """Deltas for `token_ids`, int64 [1, tokens]. Closing it ends the work. Raises EngineFailed."""
        if token_ids.shape[1] == 0:
            raise EngineFailed("The prompt is empty, and the model needs at least one token to go on from.")
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Delta | Exception] = asyncio.Queue()

        def deliver(item: Delta | Exception) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody listens any more
                loop.call_soon_threadsafe(arrived.put_nowait, item)

        self._next_id += 1
        stream = Stream(self._next_id, token_ids, config, deliver)
        if self._closing:
            raise EngineFailed("The engine is closed.")
        self._inbox.put(stream)
        try:
            while True:
                item = await arrived.get()
                if isinstance(item, Exception):
                    raise item
                yield item, stream
                if item.finish:
                    return
        finally:
            stream.closed = True

    def close(self) -> None:
        self._closing = True
        self._inbox.put(None)
        self._thread.join()

    # What follows runs in the engine's own thread.

    def _run(self) -> None:
        while not self._closing:
            try:
                self._take_in()
                if self._active:
                    self._pipeline.step()
                    self._hand_out()
            except Exception as error:  # the thread must live on, whatever one step met
                self._fail_all(EngineFailed(f"The engine failed in a step: {last_line(error)}"))
        self._fail_all(EngineFailed("The engine was closed."))
        del self._pipeline

    def _take_in(self) -> None:
        """New streams in, closed streams out; sleeps while there is nothing to do."""
        while not self._closing:
            try:
                stream = self._inbox.get(block=not self._active)
            except queue.Empty:
                break
            if stream is None or stream.closed:
                continue
            try:
                stream.handle = self._pipeline.add_request(
                    stream.request_id, openvino.Tensor(stream.token_ids), stream.config
                )
            except RuntimeError as error:
                stream.deliver(EngineFailed(f"The engine refused the request: {last_line(error)}"))
                continue
            self._active.append(stream)
        for stream in self._active:
            if stream.closed:
                stream.handle.cancel()
        self._active = [stream for stream in self._active if not stream.closed]
        if not self._active and self._pipeline.has_non_finished_requests():
            self._pipeline.step()  # a cancelled request leaves the pipeline in its next step

    def _hand_out(self) -> None:
        self.kv_used_ratio = self._pipeline.get_metrics().cache_usage / 100
        running: list[Stream] = []
        for stream in self._active:
            finish = None
            fresh = 0
            while stream.handle.can_read():
                for output in stream.handle.read().values():
                    stream.ids.extend(output.generated_ids)
                    stream.log_probs.extend(output.generated_log_probs)
                    fresh += len(output.generated_ids)
                    if output.finish_reason != GenerationFinishReason.NONE:
                        finish = "length" if output.finish_reason == GenerationFinishReason.LENGTH else "stop"
            status = stream.handle.get_status()
            if status == GenerationStatus.IGNORED:
                stream.deliver(EngineFailed("The prompt does not fit the KV cache: raise kv_cache_gb."))
                continue
            if finish is None and status == GenerationStatus.FINISHED:
                finish = "stop"
            if fresh or finish:
                stream.deliver(Delta(self._new_text(stream, last=finish is not None), fresh, finish))
            if finish is None:
                running.append(stream)
        self._active = running

    def _new_text(self, stream: Stream, *, last: bool) -> str:
        """Text that the newest tokens complete; a character whose bytes span tokens waits for its last."""
        ids = stream.ids
        known = self._tokenizer.decode(ids[stream.window_start : stream.read_end]) if stream.read_end else ""
        text = self._tokenizer.decode(ids[stream.window_start :]) if len(ids) > stream.window_start else ""
        if len(text) <= len(known) or (text.endswith("\ufffd") and not last):
            return ""
        stream.window_start, stream.read_end = stream.read_end, len(ids)
        return text[len(known) :].rstrip("\ufffd") if last else text[len(known) :]

    def _fail_all(self, error: EngineFailed) -> None:
        for stream in self._active:
            with contextlib.suppress(RuntimeError):
                stream.handle.cancel()
            stream.deliver(error)
        self._active = []
        while self._closing and not self._inbox.empty():
            waiting = self._inbox.get()
            if waiting is not None:
                waiting.deliver(error)


def last_line(error: Exception) -> str:
    """OpenVINO's messages begin with its own source paths; the last line says what happened."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
