"""A model's files as torch reads them, in the numbers that the device does best; for runner.py."""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from acepilot.errors import ModelBroken
from acepilot.models.registry import ModelFolder
from server.engine.base import Dtype
from server.engine.torch.linear import WeightFormat

BF16_CAPABILITY = 8
"""The first CUDA compute capability (major) whose cards have bfloat16 in hardware."""


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def best_numbers(wanted: Dtype) -> WeightFormat:
    """int8 is a form of weights only: it computes as `auto` does."""
    device = best_device()
    match wanted:
        case "float32" | "bfloat16" | "float16":
            return WeightFormat(device, getattr(torch, wanted))
        case "auto" | "int8":
            return WeightFormat(device, _fastest(device), int8=wanted == "int8")


def _fastest(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device)[0] >= BF16_CAPABILITY
        return torch.bfloat16 if native else torch.float16
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


@dataclass(frozen=True)
class ModelFiles:
    """A model's folder; `gguf` is the name of its file in it, or None. `config` and `tokenizer` are
    transformers'."""

    folder: Path
    gguf: str | None
    config: Any
    tokenizer: Any


def read_files(model: ModelFolder) -> ModelFiles:
    """Read what is beside the weights. Raises ModelBroken."""
    path = None if model.is_safetensors else model.gguf
    folder, gguf = (model.path, None) if path is None else (path.parent, path.name)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if not model.has_tokenizer:
        raise ModelBroken(
            f"{model.path} has no tokenizer: copy tokenizer.json and tokenizer_config.json of the model that "
            "it was made from into it."
        )
    with _readable(model.path):
        config: Any = AutoConfig.from_pretrained(folder, gguf_file=gguf)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, gguf_file=gguf)
    return ModelFiles(folder, gguf, config, tokenizer)


def load_pretrained(files: ModelFiles, dtype: torch.dtype) -> Any:
    """Load transformers' model to the CPU. Raises ModelBroken."""
    with _readable(files.folder):
        opened: Any = AutoModelForCausalLM.from_pretrained(
            files.folder,
            config=files.config,  # or a GGUF would be parsed once more for it: 5 s of 14 for starter-tiny
            gguf_file=files.gguf,
            dtype=dtype,
            output_loading_info=True,
        )
    loaded, report = opened
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelBroken(
            f"{files.folder} lacks {len(missing)} of the model's tensors, {missing[0]} among them: it was "
            "not copied or saved whole. Fetch or export the model again."
        )
    return loaded.eval().requires_grad_(False)


@contextmanager
def _readable(path: Path) -> Generator[None]:
    try:
        yield
    except Exception as error:  # a damaged file raises anything, struct.error included
        raise ModelBroken(
            f"{path} cannot be opened by the torch engine, which reads folders as transformers saves them "
            f"and Llama- and Qwen-family GGUF files: {error}"
        ) from error
