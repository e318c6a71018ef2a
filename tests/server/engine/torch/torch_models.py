"""Tiny random models of each family, for the torch engine's tests, saved as folders by transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    CodeGenConfig,
    GPTBigCodeConfig,
    GPTJConfig,
    LlamaConfig,
    MambaConfig,
    Qwen2Config,
    Qwen3Config,
    Starcoder2Config,
)

from acepilot.models.registry import ModelFolder
from finetune.modeling.tiny import byte_tokenizer

VOCABULARY = 320
CONTEXT_TOKENS = 256
END_OF_TEXT_ID = 256

_ENDS: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "bos_token_id": END_OF_TEXT_ID,
    "eos_token_id": END_OF_TEXT_ID,
}
_GPT: dict[str, Any] = {**_ENDS, "n_positions": CONTEXT_TOKENS, "n_embd": 64, "n_layer": 2, "n_head": 4}
_LLAMA: dict[str, Any] = {
    **_ENDS,
    "max_position_embeddings": CONTEXT_TOKENS,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def codegen(**changes: Any) -> CodeGenConfig:
    return CodeGenConfig(**{**_GPT, "n_ctx": CONTEXT_TOKENS, "rotary_dim": 16, **changes})


CONFIGS: dict[str, Callable[[], Any]] = {
    "codegen": codegen,
    "codegen_wide": lambda: codegen(n_embd=96, n_layer=3, rotary_dim=8),
    "codegen_heads": lambda: codegen(n_head=8, rotary_dim=8, n_inner=160),
    "gptj": lambda: GPTJConfig(**_GPT, rotary_dim=8),
    "llama": lambda: LlamaConfig(**_LLAMA),
    "qwen2": lambda: Qwen2Config(**_LLAMA),
    "qwen3": lambda: Qwen3Config(**_LLAMA, head_dim=32),
    "starcoder2": lambda: Starcoder2Config(**_LLAMA, sliding_window=None),
    "starcoder2_sliding": lambda: Starcoder2Config(**_LLAMA, sliding_window=24),
    "gpt_bigcode": lambda: GPTBigCodeConfig(**_GPT),
    "gpt_bigcode_heads": lambda: GPTBigCodeConfig(**_GPT, multi_query=False),
}


def tiny_folder(folder: Path, family: str) -> ModelFolder:
    """Save a model of CONFIGS with random weights, and a tokenizer with one token per byte."""
    return save_random(folder, CONFIGS[family]())


def foreign_folder(folder: Path) -> ModelFolder:
    """Save a model of a family without attention."""
    return save_random(folder, MambaConfig(**_ENDS, hidden_size=32, num_hidden_layers=1, state_size=4))


def save_random(folder: Path, config: Any) -> ModelFolder:
    """Save a model with larger weights than transformers would give it, so that greedy tokens lead
    clearly."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.1)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return ModelFolder(folder.name, folder, None)
