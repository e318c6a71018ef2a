"""Tiny random models as folders, one a family, for the torch engine's tests: transformers made them."""

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
    Qwen2Config,
    Qwen3Config,
    Starcoder2Config,
)

from acepilot.registry import ModelFolder
from finetune.modeling_tiny import byte_tokenizer

VOCABULARY = 320
CONTEXT_TOKENS = 256
END_OF_TEXT_ID = 256

_ENDS = {"bos_token_id": END_OF_TEXT_ID, "eos_token_id": END_OF_TEXT_ID}
_GPT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "n_positions": CONTEXT_TOKENS,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    **_ENDS,
}
_LLAMA: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": CONTEXT_TOKENS,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    **_ENDS,
}


def codegen(**changes: Any) -> CodeGenConfig:
    return CodeGenConfig(**{**_GPT, "n_ctx": CONTEXT_TOKENS, "rotary_dim": 16, **changes})


CONFIGS: dict[str, Callable[[], Any]] = {
    "codegen": codegen,
    "codegen_wide": lambda: codegen(n_embd=96, n_head=4, n_layer=3, rotary_dim=8),
    "codegen_heads": lambda: codegen(n_embd=64, n_head=8, rotary_dim=8, n_inner=160),
    "gptj": lambda: GPTJConfig(**_GPT, rotary_dim=8),
    "llama": lambda: LlamaConfig(**_LLAMA),
    "qwen2": lambda: Qwen2Config(**_LLAMA),
    "qwen3": lambda: Qwen3Config(**_LLAMA, head_dim=32),
    "starcoder2": lambda: Starcoder2Config(**_LLAMA, sliding_window=None),
    "starcoder2_sliding": lambda: Starcoder2Config(**_LLAMA, sliding_window=24),
    "gpt_bigcode": lambda: GPTBigCodeConfig(**_GPT),
}


def tiny_model(folder: Path, config: Any) -> ModelFolder:
    """Random weights, larger than transformers' own: the likeliest token must not be a close call."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.1)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return ModelFolder(folder.name, folder, None)


def tiny_folder(folder: Path, family: str) -> ModelFolder:
    return tiny_model(folder, CONFIGS[family]())
