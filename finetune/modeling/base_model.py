"""The base model of a run: its folder, for training and export, and its config, for the planner."""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, CodeGenConfig

from acepilot.errors import ModelNotFound
from acepilot.models.model_card import HUB_ID
from acepilot.models.resolve import find_on_disk, resolve
from finetune.modeling.tiny import make_tiny_model
from finetune.transformers_folder import training_folder, transformers_folder

TINY = "tiny"

CODEGEN_SIZES = {
    "350M": {"n_embd": 1024, "n_layer": 20, "n_head": 16, "rotary_dim": 32},
    "2B": {"n_embd": 2560, "n_layer": 32, "n_head": 32, "rotary_dim": 64},
    "6B": {"n_embd": 4096, "n_layer": 33, "n_head": 16, "rotary_dim": 64},
    "16B": {"n_embd": 6144, "n_layer": 34, "n_head": 24, "rotary_dim": 64},
}
"""Shapes of Salesforce/codegen-*, from their config.json: --dry-run plans for them without the network."""


def base_folder(model: str, revision: str | None = None) -> Path:
    """Return the folder from which transformers loads `model`: `tiny`, or any word that `resolve` takes.

    Raises ModelNotFound when transformers cannot open the folder, and what `resolve` and
    `transformers_folder` raise.
    """
    if model == TINY:
        return training_folder(TINY, TINY, make_tiny_model)
    folder = transformers_folder(resolve(model, revision))
    try:
        AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelNotFound(
            f"transformers cannot open {folder}: give a model with config.json and safetensors, a hub id, or "
            f"`starter`. It says: {str(error).splitlines()[0]}"
        ) from error
    return folder


def model_config(model: str, revision: str | None) -> Any:
    """Return the transformers config of `model`. No weights are fetched; CodeGen needs no network at all."""
    owner, _, name = model.partition("/")
    if owner == "Salesforce" and name.startswith("codegen-") and name.split("-")[1] in CODEGEN_SIZES:
        return CodeGenConfig.from_dict({"vocab_size": 51200, **CODEGEN_SIZES[name.split("-")[1]]})
    if HUB_ID.fullmatch(model) and find_on_disk(model, revision) is None:
        return AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False)  # pyright: ignore[reportUnknownVariableType]
    return AutoConfig.from_pretrained(base_folder(model, revision), trust_remote_code=False)  # pyright: ignore[reportUnknownVariableType]
