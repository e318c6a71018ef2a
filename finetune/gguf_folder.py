"""Read a GGUF file with transformers, and write it as a folder of safetensors for transformers_folder.py."""

from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from acepilot.errors import ModelBroken
from acepilot.models.gguf_file import check_gguf


def read_gguf(gguf: Path) -> tuple[Any, Any]:
    """Return the model, in float32, and the tokenizer of a GGUF.

    Raises ModelBroken, and what transformers raises for a model that it does not know.
    """
    check_gguf(gguf)
    model: Any = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, trust_remote_code=False
    )
    tokenizer = cast(
        Any, AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False)
    )
    del model.config.quantization_config  # it no longer holds, and with it transformers refuses to save
    return model, tokenizer


def write_gguf_as_safetensors(gguf: Path, folder: Path) -> None:
    """Write config, weights (float32) and tokenizer of `gguf` into `folder`. Raises ModelBroken."""
    try:
        read, tokenizer = read_gguf(gguf)
    except (OSError, ValueError, LookupError, RuntimeError) as error:
        raise ModelBroken(f"{gguf} cannot be read: fetch or export the model again. {error}") from error
    # transformers refuses to save a model that it read from a GGUF, but not one built from the config.
    with torch.device("meta"):
        plain: Any = AutoModelForCausalLM.from_config(read.config, trust_remote_code=False)  # pyright: ignore[reportUnknownVariableType]
    plain.load_state_dict(read.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
