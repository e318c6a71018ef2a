"""Write a model of the Llama or Qwen families as one GGUF file.

Names, shapes and keys follow from the config and from tokenizer.json, not from another GGUF. Weights are
read, converted and written one at a time.
"""

import math
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGUFWriter, LlamaFileType, quants

from acepilot.errors import ConfigError
from finetune.convert.gguf.tensors import GgufTensor, GgufType, gguf_tensors, head_dim
from finetune.convert.gguf.tokenizer import add_tokenizer
from finetune.convert.source import Source

GGUF_FILE = "model.gguf"
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""transformers' model types -> llama.cpp's architectures."""
FILE_TYPES = {"F16": LlamaFileType.MOSTLY_F16, "Q8_0": LlamaFileType.MOSTLY_Q8_0}


def write_gguf(source: Source, folder: Path, kind: GgufType) -> None:
    """Write `folder`/model.gguf. Raises ConfigError for a family or a tokenizer that GGUF cannot express."""
    architecture = _architecture(source)
    writer = GGUFWriter(folder / GGUF_FILE, architecture)
    try:
        _add_config(writer, source)
        writer.add_file_type(FILE_TYPES[kind])
        writer.add_quantization_version(2)
        add_tokenizer(writer, source.tokenizer, source.config.vocab_size)
        _write_tensors(writer, gguf_tensors(source, architecture), kind)
    finally:
        writer.close()


def _architecture(source: Source) -> str:
    config = source.config
    rope = config.rope_parameters["rope_type"] if hasattr(config, "rope_parameters") else "none"
    if config.model_type not in ARCHITECTURES:
        why = f"its family is {config.model_type}; supported are {', '.join(ARCHITECTURES)}"
    elif config.hidden_act != "silu":
        why = f"its activation is {config.hidden_act}; supported is silu"
    elif rope not in {"default", "llama3"}:
        why = f"its positions are scaled by `{rope}`; supported are default and llama3"
    elif getattr(config, "use_sliding_window", False):
        why = "some of its layers use a sliding window"
    else:
        return ARCHITECTURES[config.model_type]
    raise ConfigError(f"{source.path} cannot be written as GGUF: {why}.", field="to")


def _add_config(writer: GGUFWriter, source: Source) -> None:
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
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))


def _write_tensors(writer: GGUFWriter, tensors: list[GgufTensor], kind: GgufType) -> None:
    """Write all sizes, which a GGUF has at its beginning, then the numbers of one tensor after the other."""
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
            raise ConfigError(f"{tensor.name} has numbers too large for F16: use --type Q8_0.", field="type")
        writer.write_tensor_data(data)
