"""Write a GGUF file as a folder of safetensors; transformers_folder.py calls it.

transformers reads GGUF, but refuses to save what it read: the weights move into a model that is built from
the plain config.
"""

# torch and transformers are typed only in part; the tests check how they are used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from acepilot.errors import ModelBroken


def write_gguf_as_safetensors(gguf: Path, folder: Path) -> None:
    """Write config, weights (float32) and tokenizer of `gguf` into `folder`. Raises ModelBroken."""
    try:
        read: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelBroken(f"{gguf} cannot be read: fetch or export the model again. {error}") from error
    config = read.config
    del config.quantization_config  # with it, transformers refuses to save
    with torch.device("meta"):
        plain: Any = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(read.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
