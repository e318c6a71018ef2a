"""Write a CodeGen as GPT-J, which vLLM serves: the same numbers, with attention's projections separated.

CodeGen keeps queries, values and keys in one matrix of four blocks, each with its part of all three, which
suited TPUs. Every other weight has the same name in GPT-J.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoTokenizer, GPTJConfig

from acepilot.errors import ConfigError, ModelBroken
from acepilot.models.stored_weights import SHARD_BYTES, StoredWeights, write_shards
from finetune.convert.check import Comparison, Tolerance, accept, check_same_tokens, compare, encoder
from finetune.convert.probe import probe_ids
from finetune.convert.source import Source
from finetune.convert.streaming import empty_model, streamed_logits
from finetune.transformers_folder import TOKENIZER_FILES

CODEGEN_BLOCKS = 4
"""Blocks in CodeGen's `qkv_proj`, each with its queries, values and keys."""

FUSED = ".attn.qkv_proj.weight"
BUFFERS = (".attn.causal_mask", ".attn.bias", ".attn.masked_bias")
"""Older files hold these tensors; transformers computes them."""

TOLERANCE = Tolerance(shift=1e-5, noise=1e-5)
"""The weights are equal; only the order of additions in a matrix product may differ, and rarely does."""


def write_gptj(source: Source, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write `source` as GPT-J into `folder`, in files of at most `shard_bytes`.

    Raises ConfigError for another family, and ModelBroken when weights are missing.
    """
    if source.config.model_type != "codegen":
        raise ConfigError(
            f"{source.path} is a {source.config.model_type}: only CodeGen can be converted to GPT-J.",
            field="to",
        )
    config = gptj_config(source.config)
    config.save_pretrained(folder)
    write_shards(_renamed(source), folder, shard_bytes=shard_bytes)
    expected = {name for name, _ in empty_model(config).named_parameters()}
    if odd := sorted(StoredWeights(folder).keys() ^ expected):
        raise ModelBroken(
            f"{source.path} does not hold the weights of a complete CodeGen; missing or not expected: "
            f"{', '.join(odd[:3])}."
        )
    for name in (*TOKENIZER_FILES, "generation_config.json"):
        if (source.path / name).is_file():
            shutil.copyfile(source.path / name, folder / name)


def check_gptj(source: Source, folder: Path) -> Comparison:
    """Compare the model in `folder` with `source`. Raises CheckFailed."""
    if source.tokenizer is not None:
        check_same_tokens(
            source.tokenizer, encoder(AutoTokenizer.from_pretrained(folder, trust_remote_code=False))
        )
    ids = probe_ids(source)
    config = GPTJConfig.from_pretrained(folder)
    before = streamed_logits(source.config, source.weights, ids)
    after = streamed_logits(config, StoredWeights(folder), ids)
    return accept(compare(before, after, ids), TOLERANCE, "GPT-J")


def gptj_config(codegen: Any) -> GPTJConfig:
    same = (
        "vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "rotary_dim", "n_inner",
        "activation_function", "layer_norm_epsilon", "bos_token_id", "eos_token_id", "tie_word_embeddings",
    )  # fmt: skip
    kept = {name: getattr(codegen, name) for name in same}
    return GPTJConfig(**kept, architectures=["GPTJForCausalLM"], dtype=codegen.dtype)


def separated(fused: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split CodeGen's qkv_proj, [3 C, C], into GPT-J's q_proj, k_proj and v_proj, each [C, C]."""
    width = fused.shape[1]
    blocks = fused.reshape(CODEGEN_BLOCKS, 3, heads // CODEGEN_BLOCKS, width // heads, width)
    query, value, key = (part.reshape(width, width) for part in blocks.unbind(1))
    return query, key, value


def _renamed(source: Source) -> Iterator[tuple[str, Tensor]]:
    for name, weight in source.weights.items():
        if name.endswith(FUSED):
            prefix = name.removesuffix("qkv_proj.weight")
            parts = separated(weight, source.config.n_head)
            for letter, part in zip("qkv", parts, strict=True):
                yield f"{prefix}{letter}_proj.weight", part.contiguous()
        elif not name.endswith(BUFFERS):
            yield name, weight
