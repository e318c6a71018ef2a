"""The process that owns one openvino-genai pipeline and steps it for all sequences at once.

A process of its own, because a step holds Python's global lock (0.2 s for a piece of a long prompt): in the
server's process it would stall every other request, `/health` included. And a model file that makes OpenVINO
crash takes only this process with it.

It takes in new sequences, makes one step, and sends each its tokens; so a sequence that is closed leaves
before the next step. Either end's closing of the pipe ends the worker.
"""

import contextlib
import signal
import sys
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import openvino
import openvino_genai as genai
import structlog
from openvino_genai.py_openvino_genai import GenerationFinishReason, GenerationStatus

from acepilot.registry import ModelFolder
from server.engine.base import Delta
from server.engine.messages import Add, Close, Failed, Opened, Progress, WorkerProgram
from server.engine.openvino_model import prepared_folder


@dataclass(frozen=True)
class PipelineOptions:
    """How to open the pipeline: `kv_cache_gb` of memory, `step_tokens` and `max_streams` a step at most."""

    kv_cache_gb: int
    step_tokens: int
    max_streams: int
    threads: int
    prefix_caching: bool


@dataclass
class _Sequence:
    number: int
    handle: Any
    ids: list[int] = field(default_factory=list[int])
    window_start: int = 0
    read_end: int = 0


def run(pipe: Connection, model: ModelFolder, options: PipelineOptions) -> None:
    """The worker's whole life. Started by `multiprocessing`; returns when the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = options.kv_cache_gb
    scheduler.max_num_batched_tokens = options.step_tokens
    scheduler.max_num_seqs = options.max_streams
    scheduler.enable_prefix_caching = options.prefix_caching
    properties: dict[str, object] = {"INFERENCE_NUM_THREADS": options.threads} if options.threads else {}
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            path = str(prepared_folder(model))
            pipeline = genai.ContinuousBatchingPipeline(path, scheduler, "CPU", properties, {})
        except Exception as error:  # told to the parent, whatever it is
            pipe.send(Failed(None, _last_line(error)))
            return
        pipe.send(Opened(path))
        _Worker(pipe, pipeline).run()


PROGRAM = WorkerProgram("OpenVINO", run, "OpenVINO folders, and Llama- and Qwen-family GGUF files")


class _Worker:
    def __init__(self, pipe: Connection, pipeline: genai.ContinuousBatchingPipeline) -> None:
        self._pipe = pipe
        self._pipeline = pipeline
        self._tokenizer = pipeline.get_tokenizer()
        self._active: dict[int, _Sequence] = {}

    def run(self) -> None:
        """Until the parent sends None, or is gone: then the pipe raises."""
        while True:
            while self._pipe.poll(0 if self._pipeline.has_non_finished_requests() else None):
                message: Add | Close | None = self._pipe.recv()
                if message is None:
                    return
                self._take(message)
            try:
                self._pipeline.step()
                self._hand_out()
            except RuntimeError as error:
                self._fail_all(f"The engine failed in a step: {_last_line(error)}")

    def _take(self, message: Add | Close) -> None:
        if isinstance(message, Close):
            sequence = self._active.pop(message.sequence, None)
            if sequence is not None:
                sequence.handle.cancel()
            return
        config = genai.GenerationConfig()
        try:
            for name, value in message.settings.items():
                setattr(config, name, value)
            token_ids = openvino.Tensor(np.array([message.token_ids], dtype=np.int64))
            handle = self._pipeline.add_request(message.sequence, token_ids, config)
        except Exception as error:  # of any type: whoever waits for this sequence must hear of it
            why = f"The engine refused the request: {_last_line(error)}"
            self._pipe.send(Failed(message.sequence, why))
            return
        self._active[message.sequence] = _Sequence(message.sequence, handle)

    def _hand_out(self) -> None:
        kv_used_ratio = self._pipeline.get_metrics().cache_usage / 100
        for sequence in list(self._active.values()):
            finish = None
            fresh = 0
            log_probs: list[float] = []
            while sequence.handle.can_read():
                for output in sequence.handle.read().values():
                    sequence.ids.extend(output.generated_ids)
                    log_probs.extend(output.generated_log_probs)
                    fresh += len(output.generated_ids)
                    if output.finish_reason != GenerationFinishReason.NONE:
                        finish = "length" if output.finish_reason == GenerationFinishReason.LENGTH else "stop"
            status = sequence.handle.get_status()
            if status == GenerationStatus.IGNORED:
                del self._active[sequence.number]
                why = "The prompt does not fit the KV cache: raise kv_cache_gb."
                self._pipe.send(Failed(sequence.number, why))
                continue
            if finish is None and status == GenerationStatus.FINISHED:
                finish = "stop"
            if finish is not None:
                del self._active[sequence.number]
            if fresh or finish:
                delta = Delta(self._new_text(sequence, last=finish is not None), fresh, finish)
                self._pipe.send(Progress(sequence.number, delta, log_probs, kv_used_ratio))

    def _new_text(self, sequence: _Sequence, *, last: bool) -> str:
        """Text that the newest tokens complete; a character whose bytes span tokens waits for its last."""
        ids, start, end = sequence.ids, sequence.window_start, sequence.read_end
        known = self._tokenizer.decode(ids[start:end]) if end > start else ""
        text = self._tokenizer.decode(ids[start:]) if len(ids) > start else ""
        if len(text) <= len(known) or (text.endswith("\ufffd") and not last):
            return ""
        sequence.window_start, sequence.read_end = end, len(ids)
        return text[len(known) :].rstrip("\ufffd") if last else text[len(known) :]

    def _fail_all(self, why: str) -> None:
        for sequence in self._active.values():
            with contextlib.suppress(RuntimeError):
                sequence.handle.cancel()
            self._pipe.send(Failed(sequence.number, why))
        self._active.clear()


def _last_line(error: Exception) -> str:
    """OpenVINO's messages begin with its own source paths; the last line says what happened."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
