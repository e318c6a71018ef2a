"""A model's files as torch reads them, in the numbers that the device does best; for torch_model.py."""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from acepilot.errors import ModelBroken
from acepilot.registry import ModelFolder
from server.engine.base import Dtype
from server.engine.torch_linear import Numbers

BF16_CAPABILITY = 8
"""The first CUDA compute capability (major) whose cards have bfloat16 in hardware."""


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def best_numbers(wanted: Dtype) -> Numbers:
    """int8 is a form of weights only: it computes as `auto` does."""
    device = best_device()
    match wanted:
        case "float32" | "bfloat16" | "float16":
            return Numbers(device, getattr(torch, wanted))
        case "auto" | "int8":
            return Numbers(device, _fastest(device), int8=wanted == "int8")


def _fastest(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device)[0] >= BF16_CAPABILITY
        return torch.bfloat16 if native else torch.float16
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def load_pretrained(model: ModelFolder, dtype: torch.dtype) -> tuple[Any, Any]:
    """transformers' model, on the CPU, and its tokenizer. Raises ModelBroken."""
    gguf = None if model.is_safetensors else model.gguf
    folder = str(model.path if gguf is None else gguf.parent)
    source = {} if gguf is None else {"gguf_file": gguf.name}
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **source)
        opened: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, **source
        )
    except Exception as error:  # a damaged file raises anything, struct.error included
        raise ModelBroken(
            f"{model.path} cannot be opened by the torch engine, which reads folders as transformers saves "
            f"them and Llama- and Qwen-family GGUF files: {error}"
        ) from error
    loaded, report = opened
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelBroken(
            f"{model.path} lacks {len(missing)} of the model's tensors, {missing[0]} among them: it was not "
            "copied or saved whole. Fetch or export the model again."
        )
    return loaded.eval().requires_grad_(False), tokenizer
