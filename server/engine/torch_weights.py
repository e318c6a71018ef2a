"""A model's files as torch reads them, in the numbers that the device does best; for torch_model.py."""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from acepilot.errors import ModelBroken
from acepilot.registry import ModelFolder
from server.engine.base import Dtype

BF16_CAPABILITY = 8
"""The first CUDA compute capability (major) whose cards have bfloat16 in hardware."""


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def number_form(wanted: Dtype, device: torch.device) -> torch.dtype:
    """What is computed in. int8 is a form of weights only: it computes as `auto` does."""
    match wanted:
        case "float32":
            return torch.float32
        case "bfloat16":
            return torch.bfloat16
        case "float16":
            return torch.float16
        case "auto" | "int8":
            if device.type == "cuda":
                native = torch.cuda.get_device_capability(device)[0] >= BF16_CAPABILITY
                return torch.bfloat16 if native else torch.float16
            able = torch.cpu.get_capabilities()
            fast = able.get("avx512_bf16", False) or able.get("amx_bf16", False)
            return torch.bfloat16 if fast else torch.float32


def load_pretrained(model: ModelFolder, dtype: torch.dtype) -> tuple[Any, Any]:
    """transformers' model, on the CPU, and its tokenizer. Raises ModelBroken."""
    gguf = None if model.is_safetensors else model.gguf
    folder = str(model.path if gguf is None else gguf.parent)
    source = {} if gguf is None else {"gguf_file": gguf.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **source)
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **source)
    except Exception as error:  # a damaged file raises anything, struct.error included
        raise ModelBroken(
            f"{model.path} cannot be opened by the torch engine, which reads folders as transformers saves "
            f"them and Llama- and Qwen-family GGUF files: {error}"
        ) from error
    return loaded.eval().requires_grad_(False), tokenizer
