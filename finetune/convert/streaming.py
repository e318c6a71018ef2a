"""Run a model in float32 while only one module's weights are in memory; for the check of a conversion."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import AutoModelForCausalLM


@torch.inference_mode()
def streamed_logits(config: Any, weights: Mapping[str, Tensor], ids: Tensor) -> Tensor:
    """Compute int64 [T] -> float32 [T, V] with transformers' model of `config`.

    Each module's weights are read just before it computes and released after, so that memory is needed for
    the largest tensor only.
    """
    model = empty_model(config)
    stored_names = {id(weight): name for name, weight in model.named_parameters()}  # lists tied weights once
    for module in model.modules():
        names = {own: stored_names[id(weight)] for own, weight in module.named_parameters(recurse=False)}
        if names:
            _load_when_called(module, names, weights)
    return model(input_ids=ids[None], use_cache=False).logits[0].float()


def empty_model(config: Any) -> Any:
    """Return the model of `config`: parameters take no memory; buffers, which no file holds, have values."""
    with init_empty_weights(include_buffers=False):
        # from_config changes the config that it is given
        model: Any = AutoModelForCausalLM.from_config(  # pyright: ignore[reportUnknownVariableType]
            copy.deepcopy(config), dtype=torch.float32, trust_remote_code=False
        )
    model.tie_weights()
    return model.eval()  # pyright: ignore[reportUnknownVariableType]


def _load_when_called(module: nn.Module, names: dict[str, str], weights: Mapping[str, Tensor]) -> None:
    empty = dict(module.named_parameters(recurse=False))

    def load(*_: Any) -> None:
        for own, stored in names.items():
            setattr(module, own, nn.Parameter(weights[stored].float(), requires_grad=False))

    def unload(*_: Any) -> None:
        for own, parameter in empty.items():
            setattr(module, own, parameter)

    module.register_forward_pre_hook(load)
    module.register_forward_hook(unload)
