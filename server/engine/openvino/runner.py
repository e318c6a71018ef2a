"""The openvino engine's runner: a model in OpenVINO's paged form, its KV cache, and one step of both.

OpenVINO's paged attention reads keys and values through a table of blocks. Here the blocks of a cache row lie
side by side, so that a row is contiguous, as step.py requires. Our scheduler is used instead of
openvino-genai's, because ours drafts from the prompt without changing the output, keeps each request's seed,
and scores a text without a second pipeline.
"""

# openvino is only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from collections.abc import Sequence
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
from server.engine.scheduler.step import RowSlice, wanted_tokens

BLOCK_TOKENS = 32
"""Tokens in a block of the KV cache: the block size that OpenVINO uses on CPU."""

SPARE_ROWS = 8
"""Rows beyond max_streams. They keep the beginnings of earlier prompts."""

USUAL_ROW_TOKENS = 4096
"""Tokens that each row has at least (or the model's limit, if that is less). If the cache is too small for
all rows of this length, there are fewer rows, and sequences wait for one."""

PRECISE = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
}
"""OpenVINO's properties for dtype float32."""

FAST = {"KV_CACHE_PRECISION": "bf16"}
"""OpenVINO's properties for other dtypes. Its default of 8 bits for the cache saves memory but no time, and a
rejected draft would change the scales of its block."""


class OpenVinoRunner:
    """Implements `Runner` in step.py for a `folder` with openvino_model.xml.

    A row has as many tokens as `kv_cache_gb` allows, at most `most_row_tokens`. `properties` are further
    settings for OpenVINO. Raises ModelBroken, and RuntimeError as OpenVINO does.
    """

    def __init__(self, folder: Path, options: EngineOptions, most_row_tokens: int, **properties: Any) -> None:
        core = openvino.Core()
        model = core.read_model(folder / "openvino_model.xml")
        paged_attention_transformation(model)
        _gather_before_logits(model)
        threads = {"INFERENCE_NUM_THREADS": options.threads} if options.threads else {}
        precision = PRECISE if options.dtype == "float32" else FAST
        compiled = core.compile_model(model, "CPU", {**precision, **threads, **properties})
        self.request = compiled.create_infer_request()
        self.vocabulary = int(compiled.output(0).get_partial_shape()[2].get_length())
        caches = [_Cache(port) for port in compiled.inputs if "_cache." in port.any_name]
        cache_bytes = (options.kv_cache_gb or CPU_KV_CACHE_GB) * 10**9
        blocks = cache_bytes // sum(cache.block_bytes for cache in caches)
        usual = min(USUAL_ROW_TOKENS, most_row_tokens) // BLOCK_TOKENS
        self.slots = min(options.max_streams + SPARE_ROWS, blocks // usual)
        if not self.slots:
            raise ModelBroken(
                f"A KV cache of {cache_bytes / 1e9:.0f} GB has no room for {usual * BLOCK_TOKENS} tokens of "
                "this model: raise kv_cache_gb."
            )
        self._blocks = min(most_row_tokens // BLOCK_TOKENS, blocks // self.slots)
        self.slot_tokens = self._blocks * BLOCK_TOKENS
        # The operating system gives memory to a row only when its tokens are written.
        self._caches = [cache.allocate(self.slots * self._blocks) for cache in caches]
        for cache, array in zip(caches, self._caches, strict=True):
            self.request.set_tensor(cache.port, openvino.Tensor(array, array.shape, cache.kind))

    def step(self, row_slices: Sequence[RowSlice]) -> NDArray[np.float32]:
        ids = [token for row_slice in row_slices for token in row_slice.token_ids]
        positions = [at for row_slice in row_slices for at in row_slice.positions]
        ends = accumulate(len(row_slice.token_ids) for row_slice in row_slices)
        used = [-(-row_slice.end // BLOCK_TOKENS) for row_slice in row_slices]
        rows = [row_slice.slot * self._blocks for row_slice in row_slices]
        wanted = wanted_tokens(row_slices)
        inputs = {
            "input_ids": np.array(ids, np.int64),
            "position_ids": np.array(positions, np.int64),
            "past_lens": np.array([row_slice.start for row_slice in row_slices], np.int32),
            "subsequence_begins": np.array([0, *ends], np.int32),
            "block_indices": np.concatenate(
                [np.arange(row, row + count, dtype=np.int32) for row, count in zip(rows, used, strict=True)]
            ),
            "block_indices_begins": np.array([0, *accumulate(used)], np.int32),
            "max_context_len": np.array(max(row_slice.end for row_slice in row_slices), np.int32),
            "logits_at": np.array(wanted or [0], np.int64),
        }
        try:
            self.request.infer(inputs)
        except RuntimeError as error:
            raise EngineFailed(last_line(error)) from error
        logits = self.request.get_output_tensor(0).data.reshape(-1, self.vocabulary)
        return logits[: len(wanted)]

    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        count = -(-tokens // BLOCK_TOKENS)
        begin, end = source * self._blocks, target * self._blocks
        for cache in self._caches:
            cache[end : end + count] = cache[begin : begin + count]


class _Cache:
    """The keys or values of one layer: an input of the model, in blocks."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.kind = port.get_element_type()
        self._block_shape = [part.get_length() for part in list(port.get_partial_shape())[1:]]
        self.block_bytes = self.kind.size * math.prod(self._block_shape)

    def allocate(self, blocks: int) -> NDArray[Any]:
        """Return zeros with the right number of bytes per element; NumPy has no bfloat16.

        The memory is an anonymous mapping, which has small pages. NumPy allocates huge pages, and clearing
        those of a new row in all layers takes 0.13 s of the time to the first token.
        """
        memory = mmap(-1, blocks * self.block_bytes)
        return np.frombuffer(memory, f"u{self.kind.size}").reshape(blocks, *self._block_shape)


def last_line(error: Exception) -> str:
    """Return the last line of an OpenVINO error, which says what happened; source paths come before it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _gather_before_logits(model: Any) -> None:
    """Change `model` so that it computes logits, [T, 1, V], only for the tokens given in `logits_at`."""
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
