"""Load a base model for training, with adapters, packed attention and the loss; used by train.py.

DeepSpeed wraps `LossModel`. Its forward pass goes from token ids to a summed loss, so that the logits of a
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
"""All projections of a block. Qwen and Mistral have Llama's names; other families get peft's `all-linear`."""

LOSS_CHUNK_TOKENS = 1024
"""Tokens whose logits are in memory at the same time: 200 MB of CodeGen's, in float32."""

_LOGIT_CHANGES = ("final_logit_softcapping", "logits_scaling", "logit_scale")
"""Config keys of families that change the logits after the last layer: for them transformers computes all
logits."""


def lora_targets(model_type: str, options: LoraOptions) -> list[str] | str:
    family = "llama" if model_type in {"qwen2", "qwen3", "mistral"} else model_type
    return options.targets or LORA_TARGETS.get(family, "all-linear")


def add_lora(model: Any, options: LoraOptions) -> Any:
    """Return `model` with low-rank adapters as the only trained weights. Raises ConfigError: wrong target."""
    lora = LoraConfig(
        r=options.r,
        lora_alpha=options.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=options.dropout,
        target_modules=lora_targets(model.config.model_type, options),
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 uses an old name of transformers
            # The adapters get the base's type, because DeepSpeed keeps their float32 copy.
            return get_peft_model(model, lora, autocast_adapter_dtype=False)
    except ValueError as error:
        raise ConfigError(f"lora.targets does not fit this model: {error}", field="lora.targets") from error


def open_adapter(base: Any, folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # as above
        return PeftModel.from_pretrained(base, str(folder))


def load_model(base: Path, config: TrainConfig, dtype: torch.dtype) -> "LossModel":
    """Load the model in the folder `base`, with checkpointing and adapters as the recipe says.

    Under ZeRO-3 an `HfDeepSpeedConfig` must exist: then each process loads only its part.
    """
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelBroken(
            f"The weights in {base} cannot be loaded; fetch the model again. {error}"
        ) from error
    limit = getattr(model.config, "max_position_embeddings", config.sequence_tokens)
    if config.sequence_tokens > limit:
        raise ConfigError(
            f"sequence_tokens={config.sequence_tokens} is more than this model's context of {limit} tokens",
            field="sequence_tokens",
        )
    if config.checkpointing:
        model.activation_checkpointing_enable()
    return LossModel(add_lora(model, config.lora) if config.method == "lora" else model)


class LossModel(nn.Module):
    """A transformers or peft model with a summed loss as its output. `packs`: it uses packed attention."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.causal: Any = model.get_base_model() if hasattr(model, "peft_config") else model
        self.packs = use_packed_attention(self.causal)
        self._needs_all_logits = any(
            getattr(self.causal.config, key, None) not in {None, 1} for key in _LOGIT_CHANGES
        )

    def forward(self, input_ids: Tensor, position_ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute int64 [B, T] tensors -> summed loss, float32 []; number of predicted tokens, int64 []."""
        targets = labels[:, 1:].flatten()
        inputs: dict[str, Any] = {"input_ids": input_ids, "position_ids": position_ids, "use_cache": False}
        if self.packs:
            inputs["document_lengths"] = document_lengths(position_ids)
        if self._needs_all_logits:
            logits = self.causal(**inputs).logits
            total = _summed_loss(logits[:, :-1].flatten(0, 1), targets)
        else:
            hidden = self.causal.base_model(**inputs).last_hidden_state[:, :-1].flatten(0, 1)
            # Under ZeRO-3 each call of the head is a collective, so all processes need as many chunks: the
            # number depends on the shape alone.
            total = hidden.new_zeros((), dtype=torch.float32)
            for start in range(0, targets.numel(), LOSS_CHUNK_TOKENS):
                chunk = slice(start, start + LOSS_CHUNK_TOKENS)
                total = total + checkpoint(
                    self._chunk_loss, hidden[chunk], targets[chunk], use_reentrant=False
                )
        return total, (targets != NO_LOSS).sum()

    def _chunk_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        predicted = targets != NO_LOSS
        return _summed_loss(self.causal.get_output_embeddings()(hidden[predicted]), targets[predicted])


def _summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute logits [N, V] and targets int64 [N] -> float32 []."""
    return functional.cross_entropy(logits.float(), targets, ignore_index=NO_LOSS, reduction="sum")
