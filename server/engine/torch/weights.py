"""Reads a model's files with transformers, and chooses the dtype that is fastest on this machine."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from acepilot.errors import ModelBroken
from acepilot.fim import is_sentinel
from acepilot.models.registry import ModelFolder
from server.engine.base import Dtype
from server.engine.torch.linear import WeightFormat

BF16_CAPABILITY = 8
"""The first CUDA compute capability (major number) whose GPUs compute bfloat16 in hardware."""

SIZES = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "rotary_dim", "intermediate_size", "n_inner", "vocab_size",
)  # fmt: skip
"""Keys of the config that size a model's tensors. transformers knows n_embd and others by these names too."""


@dataclass(frozen=True)
class Machine:
    """What torch reports about this machine. `cuda_capability` is None without a GPU."""

    cuda_capability: tuple[int, int] | None
    cpu_capabilities: Mapping[str, bool]


def this_machine() -> Machine:
    has_gpu = torch.cuda.is_available()
    return Machine(torch.cuda.get_device_capability() if has_gpu else None, torch.cpu.get_capabilities())


def best_format(dtype: Dtype, machine: Machine) -> WeightFormat:
    """Return the device and type to compute in: with int8, which only stores weights, the type of `auto`."""
    device = torch.device("cpu" if machine.cuda_capability is None else "cuda")
    if dtype in ("auto", "int8"):
        return WeightFormat(device, _fastest(machine), int8=dtype == "int8")
    return WeightFormat(device, getattr(torch, dtype))


def _fastest(machine: Machine) -> torch.dtype:
    if machine.cuda_capability is not None:
        return torch.bfloat16 if machine.cuda_capability[0] >= BF16_CAPABILITY else torch.float16
    has_bfloat16 = any(machine.cpu_capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if has_bfloat16 else torch.float32


@dataclass(frozen=True)
class ModelFiles:
    """A model's folder, the name of its GGUF file if it has one, and transformers' config and tokenizer."""

    folder: Path
    gguf: str | None
    config: Any
    tokenizer: Any


def read_files(model: ModelFolder) -> ModelFiles:
    """Read everything but the weights. Raises ModelBroken."""
    path = None if model.is_safetensors else model.gguf
    folder, gguf = (model.path, None) if path is None else (path.parent, path.name)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if not model.has_tokenizer:
        raise ModelBroken(
            f"{model.path} has no tokenizer: copy tokenizer.json and tokenizer_config.json into it from the "
            "model that it was made from."
        )
    with _readable(model.path):
        config: Any = AutoConfig.from_pretrained(folder, gguf_file=gguf, trust_remote_code=False)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, gguf_file=gguf, trust_remote_code=False)
    if gguf is None:
        _check_size(folder, config)
    return ModelFiles(folder, gguf, config, tokenizer)


def _check_size(folder: Path, config: Any) -> None:
    """Raise ModelBroken if the config's model is larger than its files: making it could take all memory.

    A weight takes at least a byte. Each of SIZES is a side of a matrix whose other side is the width.
    """
    stored_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    width = getattr(config, "hidden_size", None) or 1
    for name in SIZES:
        size = getattr(config, name, None)
        if size is None:
            continue
        are_numbers = type(size) is int and type(width) is int
        if not are_numbers or size < 0 or size * max(width, 1) > stored_bytes:
            raise ModelBroken(
                f"{folder / 'config.json'} says {name}: {str(size)[:40]} and a width of {str(width)[:40]}, "
                f"but the folder has only {stored_bytes} bytes of weights: one of them is damaged. Fetch or "
                "export the model again."
            )


def load_pretrained(files: ModelFiles, dtype: torch.dtype) -> Any:
    """Load transformers' model to the CPU. Raises ModelBroken."""
    with _readable(files.folder):
        opened: Any = AutoModelForCausalLM.from_pretrained(
            files.folder,
            config=files.config,  # without it, transformers parses a GGUF again: 5 of 14 s for starter-tiny
            gguf_file=files.gguf,
            dtype=dtype,
            output_loading_info=True,
            trust_remote_code=False,
        )
    loaded, report = opened
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelBroken(
            f"{files.folder} lacks {len(missing)} of the model's tensors, {missing[0]} among them: it was "
            "copied or saved only in part. Fetch or export the model again."
        )
    return loaded.eval().requires_grad_(False)


def special_tokens(tokenizer: Tokenizer) -> dict[int, str]:
    """Return the sentinels and end marks, by id."""
    return {
        token_id: token.content
        for token_id, token in tokenizer.get_added_tokens_decoder().items()
        if token.special or is_sentinel(token.content)
    }


@contextmanager
def _readable(path: Path) -> Generator[None]:
    try:
        yield
    except Exception as error:  # a damaged file raises errors of any type, struct.error included
        raise ModelBroken(
            f"{path} cannot be opened by the torch engine, which reads folders as transformers saves them "
            f"and Llama- and Qwen-family GGUF files: {error}"
        ) from error
