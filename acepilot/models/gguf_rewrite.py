"""Rewrite a GGUF file for OpenVINO's reader, after a model was fetched and before it is served.

OpenVINO reads F32, F16, Q8_0 and Q4_0 tensors as they are. Other types (Q5_0, Q6_K, Q4_K …) are rewritten as
Q8_0, which loses next to nothing. So is Q4_1: OpenVINO reads it, but rounds each block's minimum to a
multiple of the block's scale, which costs starter-tiny 0.2 nats a token of code.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType as Quant
from gguf import GGUFValueType, GGUFWriter, LlamaFileType, ReaderTensor, quants
from numpy.typing import NDArray

from acepilot.models.gguf_file import open_gguf, text_field

Convert = Callable[[ReaderTensor], tuple[NDArray[Any], Quant]]
"""Returns what replaces a tensor: data, and the quantization type that gives its layout."""

READABLE = frozenset({Quant.F32, Quant.F16, Quant.Q8_0, Quant.Q4_0})


def needs_rewriting(source: Path) -> bool:
    """Return True when `source` has a tensor that OpenVINO's reader refuses or reads inexactly.

    Raises ModelBroken for a damaged file.
    """
    return any(tensor.tensor_type not in READABLE for tensor in open_gguf(source).tensors)


def rewrite_as_q8_0(source: Path, target: Path, on_progress: Callable[[float], None]) -> None:
    """Write `target` with unreadable tensors as Q8_0. `on_progress` gets bytes of `source` read so far."""

    def readable(tensor: ReaderTensor) -> tuple[NDArray[Any], Quant]:
        if tensor.tensor_type in READABLE:
            return np.asarray(tensor.data), tensor.tensor_type
        return quants.quantize(quants.dequantize(tensor.data, tensor.tensor_type), Quant.Q8_0), Quant.Q8_0

    rewrite(source, target, readable, on_progress)


def rewrite(source: Path, target: Path, convert: Convert, on_progress: Callable[[float], None]) -> None:
    """Write `target` with the metadata of `source`, and each tensor as `convert` returns it."""
    reader = open_gguf(source)
    architecture = text_field(reader, "general.architecture")
    writer = GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue  # the writer adds these itself
        kind = field.types[0]
        item_kind = field.types[-1] if kind == GGUFValueType.ARRAY else None
        is_file_type = name == "general.file_type"
        value: Any = LlamaFileType.MOSTLY_Q8_0.value if is_file_type else field.contents()
        writer.add_key_value(name, value, kind, item_kind)
    done = 0
    for tensor in reader.tensors:
        data, kind = convert(tensor)
        writer.add_tensor(tensor.name, data, raw_dtype=None if kind in {Quant.F32, Quant.F16} else kind)
        done += int(tensor.n_bytes)
        on_progress(done)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
