"""A base model made ready to train: weights, adapters, packed attention, and the loss; used by train.py.

`LossModel` is what DeepSpeed wraps: its forward goes from token ids to a summed loss, so that the logits of a
whole row (400 MB for 2,048 tokens of CodeGen, in float32) never exist at once.
"""

# torch and transformers are typed only in part; the tests check how they are used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM

from acepilot.corpus import NO_LOSS
from acepilot.errors import ConfigError, ModelBroken
from finetune.modeling.packed_attention import document_lengths, use_packed_attention
from finetune.training.config import LoraOptions, TrainConfig

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

LORA_TARGETS = {
    "codegen": ["qkv_proj", "out_proj", "fc_in", "fc_out"],
    "gptj": ["q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out"],
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
"""Every projection of a block. Qwen and Mistral name theirs as Llama does; others: peft's `all-linear`."""

LOSS_CHUNK_TOKENS = 1024
"""Tokens whose logits exist at once."""

_LOGIT_CHANGES = ("final_logit_softcapping", "logits_scaling", "logit_scale")
"""Config keys of families that do something to the logits after the last layer: these take the plain way."""


def lora_targets(model_type: str, options: LoraOptions) -> list[str] | str:
    family = "llama" if model_type in {"qwen2", "qwen3", "mistral"} else model_type
    return options.targets or LORA_TARGETS.get(family, "all-linear")


def add_lora(model: Any, options: LoraOptions) -> Any:
    """`model` with low-rank adapters, the only weights that train. Raises ConfigError for a wrong target."""
    lora = LoraConfig(
        r=options.r,
        lora_alpha=options.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=options.dropout,
        target_modules=lora_targets(model.config.model_type, options),
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 asks transformers by an old name
            # DeepSpeed keeps the float32 master copy: the adapters may be as the base is
            return get_peft_model(model, lora, autocast_adapter_dtype=False)
    except ValueError as error:
        raise ConfigError(f"lora.targets does not fit this model: {error}", field="lora.targets") from error


def open_adapter(base: Any, folder: Path) -> Any:
    """`base` with the adapter that a run left in `folder`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # as above
        return PeftModel.from_pretrained(base, str(folder))


def load_model(base: Path, config: TrainConfig, dtype: torch.dtype) -> "LossModel":
    """The base in the folder `base` with packed attention, checkpointing and adapters as the recipe says.

    Under ZeRO-3 an `HfDeepSpeedConfig` must be alive: then each process loads only its part.
    """
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelBroken(f"The weights of {base} cannot be loaded: {error}") from error
    most = getattr(model.config, "max_position_embeddings", config.sequence_tokens)
    if config.sequence_tokens > most:
        raise ConfigError(
            f"sequence_tokens={config.sequence_tokens}: this model takes {most}", field="sequence_tokens"
        )
    if config.checkpointing:
        model.activation_checkpointing_enable()
    return LossModel(add_lora(model, config.lora) if config.method == "lora" else model)


class LossModel(nn.Module):
    """`model` is the transformers or peft model; all its weights' names start with `model.` here.

    `packs`: its attention is packed_attention.py's.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.causal: Any = model.get_base_model() if hasattr(model, "peft_config") else model
        self.packs = use_packed_attention(self.causal)
        self._plain = any(getattr(self.causal.config, key, None) not in {None, 1} for key in _LOGIT_CHANGES)

    def forward(self, input_ids: Tensor, position_ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """int64 [B, T] each -> (summed loss, float32 []; tokens that count, int64 [])."""
        targets = labels[:, 1:].flatten()
        inputs: dict[str, Any] = {"input_ids": input_ids, "position_ids": position_ids, "use_cache": False}
        if self.packs:
            inputs["document_lengths"] = document_lengths(position_ids)
        if self._plain:
            logits = self.causal(**inputs).logits
            total = _summed_loss(logits[:, :-1].flatten(0, 1), targets)
        else:
            hidden = self.causal.base_model(**inputs).last_hidden_state[:, :-1].flatten(0, 1)
            # As many chunks on every process: under ZeRO-3 each call of the head is a collective
            total = hidden.new_zeros((), dtype=torch.float32)
            for start in range(0, targets.numel(), LOSS_CHUNK_TOKENS):
                chunk = slice(start, start + LOSS_CHUNK_TOKENS)
                total = total + checkpoint(
                    self._chunk_loss, hidden[chunk], targets[chunk], use_reentrant=False
                )
        return total, (targets != NO_LOSS).sum()

    def _chunk_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        counts = targets != NO_LOSS
        return _summed_loss(self.causal.get_output_embeddings()(hidden[counts]), targets[counts])


def _summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """[N, V], int64 [N] -> float32 []."""
    return functional.cross_entropy(logits.float(), targets, ignore_index=NO_LOSS, reduction="sum")
