"""Llama's and Qwen's families as one GGUF file: for llama.cpp, Ollama, and the `openvino` engine.

Nothing of it comes from another GGUF: names, shapes and keys follow from the config, the tokenizer from
tokenizer.json (gguf_tokenizer.py). Weights are read, converted and written one by one.
"""

# torch and transformers are typed only in part; the tests check how they are used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import copy
import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch
from gguf import GGML_QUANT_SIZES, MODEL_ARCH_NAMES, GGUFWriter, LlamaFileType, get_tensor_name_map, quants
from gguf import GGMLQuantizationType as Quant
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from acepilot.errors import ConfigError, ModelBroken
from finetune.convert.check import (
    PROBE_TEXT,
    Figures,
    Tolerance,
    accept,
    check_tokenizer,
    compare,
    cut_by,
    empty_model,
    probe_ids,
    streamed_logits,
)
from finetune.convert.gguf.tokenizer import add_tokenizer, cut_as_gguf_says
from finetune.convert.source import Source

GgufType = Literal["F16", "Q8_0"]

GGUF_FILE = "model.gguf"
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""transformers' model types, and what llama.cpp calls them."""
FILE_TYPES = {"F16": LlamaFileType.MOSTLY_F16, "Q8_0": LlamaFileType.MOSTLY_Q8_0}
Q8_BLOCK = 32
"""Q8_0 stores rows in blocks of so many numbers; a tensor with other rows stays F16."""
READ_BACK_RATIO = 2.5
"""Memory to read a model back, against its size in float32."""
UNREAD = ("head_dim", "rope_parameters", "attention_bias", "mlp_bias", "sliding_window")
"""Keys of a config that transformers does not look for in a GGUF: the check takes them from the source."""
TOLERANCES: dict[GgufType, Tolerance] = {
    "F16": Tolerance(shift=0.002, noise=0.01),
    "Q8_0": Tolerance(shift=0.05, noise=0.15),
}
"""Seen with tuned starters: 0.00 % off and no noise for F16; 0.1 % to 2.4 % and 2 % to 5 % for Q8_0, most for
those moved least from a base that was itself published in Q8_0."""


def write_gguf(source: Source, folder: Path, kind: GgufType) -> Figures:
    """Raises ConfigError for a family or tokenizer unknown to GGUF, CheckFailed for a wrong result."""
    target = folder / GGUF_FILE
    architecture = _architecture(source)
    writer = GGUFWriter(target, architecture)
    try:
        _add_config(writer, source, architecture)
        writer.add_file_type(FILE_TYPES[kind])
        writer.add_quantization_version(2)
        add_tokenizer(writer, source.tokenizer, source.config.vocab_size)
        _write_tensors(writer, _tensors(source, architecture), kind)
    finally:
        writer.close()
    return _check(source, target, kind)


def _architecture(source: Source) -> str:
    config = source.config
    rope = config.rope_parameters["rope_type"] if hasattr(config, "rope_parameters") else "none"
    if config.model_type not in ARCHITECTURES:
        why = f"it is a {config.model_type}; known are {', '.join(ARCHITECTURES)}"
    elif config.hidden_act != "silu":
        why = f"its activation is {config.hidden_act}, not silu"
    elif rope not in {"default", "llama3"}:
        why = f"its positions are scaled by `{rope}`; known are default and llama3"
    elif getattr(config, "use_sliding_window", False):
        why = "some of its layers see a sliding window"
    else:
        return ARCHITECTURES[config.model_type]
    raise ConfigError(f"{source.path} cannot be written as GGUF: {why}.", field="to")


def _add_config(writer: GGUFWriter, source: Source, architecture: str) -> None:
    config = source.config
    writer.add_name(source.manifest.id)
    writer.add_license(source.manifest.licence)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(source.manifest.context_tokens)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(_head_dim(config))
    writer.add_key_length(_head_dim(config))
    writer.add_value_length(_head_dim(config))


def _head_dim(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


@dataclass(frozen=True)
class _Tensor:
    """What the file holds under `name`. `read()`: float32, of that shape."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[np.float32]]

    def stored_as(self, kind: GgufType) -> Quant:
        if len(self.shape) == 1:
            return Quant.F32
        return Quant.Q8_0 if kind == "Q8_0" and self.shape[-1] % Q8_BLOCK == 0 else Quant.F16


def _write_tensors(writer: GGUFWriter, tensors: list[_Tensor], kind: GgufType) -> None:
    """The sizes first, as the file has them in front, then the numbers, one tensor in memory at a time."""
    for tensor in tensors:
        stored = tensor.stored_as(kind)
        block, block_bytes = GGML_QUANT_SIZES[stored]
        size_bytes = math.prod(tensor.shape) // block * block_bytes
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size_bytes, stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors:
        data = quants.quantize(tensor.read(), tensor.stored_as(kind))
        if data.dtype == np.float16 and not np.isfinite(data).all():
            raise ConfigError(f"{tensor.name} has numbers too large for F16: export as Q8_0.", field="type")
        writer.write_tensor_data(data)


def _tensors(source: Source, architecture: str) -> list[_Tensor]:
    """Raises ModelBroken when the source's weights are not those of its config."""
    config = source.config
    kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    names = get_tensor_name_map(kinds[architecture], config.num_hidden_layers)
    found: list[_Tensor] = []
    for name, empty in empty_model(config).named_parameters():
        gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if gguf_name is None or name not in source.weights:
            raise ModelBroken(f"{source.path} and its config.json do not fit: {name} has no place.")
        found.append(_Tensor(gguf_name, tuple(empty.shape), _reader(source, name, architecture)))
    if config.rope_parameters["rope_type"] == "llama3":
        factors = _rope_factors(config)
        found.append(_Tensor("rope_freqs.weight", factors.shape, lambda: factors))
    return found


def _reader(source: Source, name: str, architecture: str) -> Callable[[], NDArray[np.float32]]:
    config = source.config
    part = name.split(".")[-2]

    def read() -> NDArray[np.float32]:
        weight = source.weights[name].detach().float()
        if architecture == "llama" and part in {"q_proj", "k_proj"}:
            heads = config.num_attention_heads if part == "q_proj" else config.num_key_value_heads
            weight = interleaved(weight, heads)
        return weight.numpy()

    return read


def interleaved(weight: Tensor, heads: int) -> Tensor:
    """[H * D, ...] -> the same, each head's rows in Llama's first order: rotary pairs side by side."""
    return weight.unflatten(0, (heads, 2, -1)).swapaxes(1, 2).flatten(0, 2)


def _rope_factors(config: Any) -> NDArray[np.float32]:
    """[D / 2]: by what llama3's scaling divides each of the plain frequencies."""
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    exponents = torch.arange(0, _head_dim(config), 2, dtype=torch.float32) / _head_dim(config)
    return (1.0 / config.rope_parameters["rope_theta"] ** exponents / scaled).numpy()


def _check(source: Source, gguf: Path, kind: GgufType) -> Figures:
    """transformers' own reader, which shares nothing with the writer, against the source.

    It keeps in memory all it reads: of a model too large for that, as many layers are compared as fit.
    """
    written_tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    normalizes = source.tokenizer.backend_tokenizer.normalizer is not None
    probe = unicodedata.normalize("NFC", PROBE_TEXT) if normalizes else PROBE_TEXT
    check_tokenizer(source.tokenizer, cut_by(cut_as_gguf_says(written_tokenizer, gguf)), probe)
    layers = _layers_that_fit(source.config)
    written_config: Any = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    for unread in UNREAD:
        if hasattr(source.config, unread):
            setattr(written_config, unread, getattr(source.config, unread))
    written: Any = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, config=_with_layers(written_config, layers), dtype=torch.float32
    )
    ids = probe_ids(source)
    with torch.inference_mode():
        after = written(input_ids=ids[None]).logits[0]
    del written
    before = streamed_logits(_with_layers(source.config, layers), source.weights, ids)
    figures = compare(before, after, ids, layers if layers < source.config.num_hidden_layers else None)
    return accept(figures, TOLERANCES[kind], "The GGUF")


def _layers_that_fit(config: Any) -> int:
    sizes = {name: 4 * weight.numel() for name, weight in empty_model(config).named_parameters()}
    total_bytes = sum(sizes.values())
    layer_bytes = sum(size for name, size in sizes.items() if ".layers.0." in name)
    room_bytes = psutil.virtual_memory().available / READ_BACK_RATIO
    missing = math.ceil(max(0, total_bytes - room_bytes) / layer_bytes)
    return max(1, config.num_hidden_layers - missing)


def _with_layers(config: Any, layers: int) -> Any:
    shortened = copy.deepcopy(config)
    shortened.num_hidden_layers = layers
    return shortened
