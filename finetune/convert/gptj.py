"""CodeGen as GPT-J, which vLLM serves natively: the same numbers, the projections of attention told apart.

CodeGen keeps queries, values and keys in one matrix, in four blocks, each with its part of all three, as was
handy on TPUs. Everything else has GPT-J's names already.
"""

# torch and transformers are typed only in part; the tests check how they are used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTJConfig

from acepilot.errors import ConfigError, ModelBroken
from acepilot.models.stored_weights import StoredWeights
from finetune.convert.check import (
    Figures,
    Tolerance,
    accept,
    check_tokenizer,
    compare,
    cut_by,
    probe_ids,
    streamed_logits,
)
from finetune.convert.source import TOKENIZER_FILES, Source

CODEGEN_BLOCKS = 4
"""CodeGen's `qkv_proj` is stored in this many blocks, each with its queries, values and keys."""
FUSED = ".attn.qkv_proj.weight"
BUFFERS = (".attn.causal_mask", ".attn.bias", ".attn.masked_bias")
"""Older files hold them; transformers computes them."""
SHARD_BYTES = 1_000_000_000
"""Also the memory that writing needs."""
TOLERANCE = Tolerance(shift=1e-5, noise=1e-5)
"""With equal numbers only a matrix product's order of adding can differ, and mostly does not."""


def write_gptj(source: Source, folder: Path) -> Figures:
    """Raises ConfigError for another family, CheckFailed when the result says something else."""
    if source.config.model_type != "codegen":
        raise ConfigError(
            f"{source.path} is a {source.config.model_type}: only CodeGen is written as GPT-J.", field="to"
        )
    config = gptj_config(source.config)
    config.save_pretrained(folder)
    _save_shards(_renamed(source), folder, _parameter_names(config))
    for name in TOKENIZER_FILES:
        if (source.path / name).is_file():
            shutil.copyfile(source.path / name, folder / name)
    return _check(source, folder)


def gptj_config(codegen: Any) -> GPTJConfig:
    same = (
        "vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "rotary_dim", "n_inner",
        "activation_function", "layer_norm_epsilon", "bos_token_id", "eos_token_id", "tie_word_embeddings",
    )  # fmt: skip
    kept = {name: getattr(codegen, name) for name in same}
    return GPTJConfig(**kept, architectures=["GPTJForCausalLM"], dtype=codegen.dtype)


def separated(fused: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """CodeGen's qkv_proj [3 C, C] -> GPT-J's q_proj, k_proj and v_proj, each [C, C]."""
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


def _parameter_names(config: GPTJConfig) -> set[str]:
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    return {name for name, _ in model.named_parameters()}


def _save_shards(weights: Iterator[tuple[str, Tensor]], folder: Path, expected: set[str]) -> None:
    """As transformers saves large models: shards, and an index of what is where. Raises ModelBroken."""
    shards: list[list[str]] = []
    shard: dict[str, Tensor] = {}
    size_bytes = total_bytes = 0

    def save() -> None:
        save_file(shard, folder / f"{len(shards)}.part", {"format": "pt"})
        shards.append(list(shard))

    for name, weight in weights:
        if shard and size_bytes + weight.nbytes > SHARD_BYTES:
            save()
            shard, size_bytes = {}, 0
        shard[name] = weight
        size_bytes += weight.nbytes
        total_bytes += weight.nbytes
    save()
    written = {name for names in shards for name in names}
    if written != expected:
        odd = ", ".join(sorted(written ^ expected)[:3])
        raise ModelBroken(f"The weights are not those of a whole CodeGen; missing or not expected: {odd}.")
    if len(shards) == 1:
        (folder / "0.part").rename(folder / "model.safetensors")
        return
    places: dict[str, str] = {}
    for number, names in enumerate(shards):
        file = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        (folder / f"{number}.part").rename(folder / file)
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": total_bytes}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


def _check(source: Source, folder: Path) -> Figures:
    if source.tokenizer is not None:
        check_tokenizer(source.tokenizer, cut_by(AutoTokenizer.from_pretrained(folder)))
    ids = probe_ids(source)
    config = GPTJConfig.from_pretrained(folder)
    before = streamed_logits(source.config, source.weights, ids)
    after = streamed_logits(config, StoredWeights(folder), ids)
    return accept(compare(before, after, ids), TOLERANCE, "GPT-J")
