"""Merge what a run trained into its base model; export.py saves the result."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from transformers import AutoModelForCausalLM

from acepilot.errors import ModelBroken
from finetune.modeling.base_model import base_folder
from finetune.modeling.loss_model import open_adapter
from finetune.training.config import TrainConfig


def merged_model(config: TrainConfig, trained: Path, alpha: float) -> Any:
    """Return base + alpha * (tuned - base), in host memory, in the type in which the weights were trained.

    `trained` is a run's folder weights/best or weights/last. Raises ModelBroken when it cannot be read.
    """
    folder = base_folder(config.model, config.revision)
    try:
        if config.method == "lora":
            # Added in float32: in half precision, a small change of a large weight would be rounded away.
            base: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, trust_remote_code=False
            )
            dtype = next(iter(load_file(trained / "adapter_model.safetensors").values())).dtype
            adapted: Any = open_adapter(base, trained)
            with torch.no_grad():
                for name, parameter in adapted.named_parameters():
                    if ".lora_B." in name:
                        parameter.mul_(alpha)
            return adapted.merge_and_unload().to(dtype)
        tuned = load_file(trained / "model.safetensors")
        dtype = next(iter(tuned.values())).dtype
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, trust_remote_code=False)
        own = dict(model.named_parameters())
        if set(own) != set(tuned):
            raise ModelBroken(
                f"The weights in {trained} have other names than those of {config.model}: was the base "
                "replaced? Put the model that was tuned back there."
            )
        with torch.no_grad():
            for name, weight in tuned.items():
                mixed = weight if alpha == 1 else torch.lerp(own[name].float(), weight.float(), alpha)
                own[name].copy_(mixed)
        return model
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelBroken(f"The weights in {trained} cannot be read: {error}") from error
