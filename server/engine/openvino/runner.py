"""A model in OpenVINO's paged form with its KV cache: computes what the scheduler asks for in one step.

OpenVINO's paged attention reads keys and values through a table of blocks; here the blocks of a cache row lie
side by side, so that a row is what `step.py` says it is. openvino-genai has a scheduler of its own; ours is
used instead, since it drafts from the prompt without changing the output, keeps each request's seed, and
scores a text without a second pipeline.
"""

# openvino is typed in part
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops
from openvino._offline_transformations import paged_attention_transformation

from acepilot.errors import EngineFailed, ModelBroken
from server.engine.base import CPU_KV_CACHE_GB, EngineOptions
from server.engine.scheduler.step import RowSlice

BLOCK_TOKENS = 32
"""OpenVINO's own block size on CPU."""


SPARE_ROWS = 8
"""Rows beyond those that can be in use, which keep the beginnings of other prompts."""

USUAL_ROW_TOKENS = 4096
"""Where memory is short there are fewer rows rather than shorter ones: whoever finds none free waits."""

PRECISE = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
}
FAST = {"KV_CACHE_PRECISION": "bf16"}
"""OpenVINO's own choice of 8 bits for the cache saves memory and no time, and a rejected draft would leave
traces in the scales of its block."""


class OpenVinoRunner:
    """See `Runner` in step.py. `folder` has openvino_model.xml. Raises ModelBroken, RuntimeError.

    A row has as many tokens as `kv_cache_gb` allows, at most `most_row_tokens`.
    """

    def __init__(self, folder: Path, options: EngineOptions, *, most_row_tokens: int) -> None:
        core = openvino.Core()
        model = core.read_model(folder / "openvino_model.xml")
        paged_attention_transformation(model)
        _gather_before_logits(model)
        properties: dict[str, Any] = dict(PRECISE if options.dtype == "float32" else FAST)
        if options.threads:
            properties["INFERENCE_NUM_THREADS"] = options.threads
        compiled = core.compile_model(model, "CPU", properties)
        self._request = compiled.create_infer_request()
        self.vocabulary = int(compiled.output(0).get_partial_shape()[2].get_length())
        caches = [_Cache.of(port) for port in compiled.inputs if "_cache." in port.any_name]
        cache_bytes = (options.kv_cache_gb or CPU_KV_CACHE_GB) * 10**9
        blocks = cache_bytes // sum(cache.block_bytes for cache in caches)
        usual = min(USUAL_ROW_TOKENS, most_row_tokens) // BLOCK_TOKENS
        self.slots = min(options.max_streams + SPARE_ROWS, blocks // usual)
        if not self.slots:
            raise ModelBroken(f"{USUAL_ROW_TOKENS} tokens do not fit the KV cache: raise kv_cache_gb.")
        self._blocks = min(most_row_tokens // BLOCK_TOKENS, blocks // self.slots)
        self.slot_tokens = self._blocks * BLOCK_TOKENS
        # memory that no token has reached yet is not taken
        self._caches = [cache.allocate(self.slots * self._blocks) for cache in caches]
        for cache, array in zip(caches, self._caches, strict=True):
            self._request.set_tensor(cache.port, openvino.Tensor(array, array.shape, cache.kind))

    def step(self, chunks: Sequence[RowSlice]) -> NDArray[np.float32]:
        ids = [token for chunk in chunks for token in chunk.token_ids]
        positions = [chunk.start + index for chunk in chunks for index in range(len(chunk.token_ids))]
        ends = list(accumulate(len(chunk.token_ids) for chunk in chunks))
        contexts = [chunk.start + len(chunk.token_ids) for chunk in chunks]
        used = [-(-tokens // BLOCK_TOKENS) for tokens in contexts]
        rows = [chunk.slot * self._blocks for chunk in chunks]
        wanted = [
            at for end, chunk in zip(ends, chunks, strict=True) for at in range(end - chunk.logits, end)
        ]
        inputs = {
            "input_ids": np.array(ids, np.int64),
            "position_ids": np.array(positions, np.int64),
            "past_lens": np.array([chunk.start for chunk in chunks], np.int32),
            "subsequence_begins": np.array([0, *ends], np.int32),
            "block_indices": np.concatenate(
                [np.arange(row, row + count, dtype=np.int32) for row, count in zip(rows, used, strict=True)]
            ),
            "block_indices_begins": np.array([0, *accumulate(used)], np.int32),
            "max_context_len": np.array(max(contexts), np.int32),
            "logits_at": np.array(wanted or [0], np.int64),
        }
        try:
            self._request.infer(inputs)
        except RuntimeError as error:
            raise EngineFailed(last_line(error)) from error
        logits = self._request.get_output_tensor(0).data.reshape(-1, self.vocabulary)
        return logits[: len(wanted)]

    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        count = -(-tokens // BLOCK_TOKENS)
        begin, end = source * self._blocks, target * self._blocks
        for cache in self._caches:
            cache[end : end + count] = cache[begin : begin + count]


@dataclass(frozen=True)
class _Cache:
    """One layer's keys or values: an input of the model, of `block_shape` a block of tokens."""

    port: Any
    kind: Any
    block_shape: tuple[int, ...]

    @classmethod
    def of(cls, port: Any) -> "_Cache":
        shape = list(port.get_partial_shape())[1:]
        return cls(port, port.get_element_type(), tuple(part.get_length() for part in shape))

    @property
    def block_bytes(self) -> int:
        return self.kind.size * math.prod(self.block_shape)

    def allocate(self, blocks: int) -> NDArray[Any]:
        """Zeros; NumPy has no bfloat16, but the bytes alone matter here.

        As a mapping, whose pages are small: NumPy's own memory comes in huge ones, and to clear those of a
        fresh row, in all layers, took 0.13 s of the time to its first token.
        """
        memory = mmap(-1, blocks * math.prod(self.block_shape) * self.kind.size)
        return np.frombuffer(memory, f"u{self.kind.size}").reshape(blocks, *self.block_shape)


def last_line(error: Exception) -> str:
    """OpenVINO's messages begin with its own source paths; the last line says what happened."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _gather_before_logits(model: Any) -> None:
    """Changes `model`: logits, [T, 1, V] for all tokens of a step, only for those that `logits_at` names."""
    result = model.get_results()[0]
    node = result.input_value(0).get_node()
    while node.get_type_name() != "MatMul":
        node = node.input_value(0).get_node()
    indices = ops.parameter([-1], np.int64, "logits_at")
    indices.output(0).set_names({"logits_at"})
    gathered = ops.gather(node.input_value(0), indices, np.int64(0))
    node.input(0).replace_source_output(gathered.output(0))
    model.add_parameters([indices])
    model.validate_nodes_and_infer_types()
