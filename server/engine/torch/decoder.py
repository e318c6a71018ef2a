"""A model's layers for the torch engine; the KV cache is outside them, in cache.py.

CodeGen and GPT-J have our own layers (codegen.py), which compute the same in fewer operations. The other
families have transformers' layers with our attention and our linear layers.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from typing import Any, Protocol

from torch import Tensor, nn

from acepilot.errors import ModelBroken
from acepilot.models.stored_weights import StoredWeights
from server.engine.torch.attention import ROW_ATTENTION, Attention
from server.engine.torch.cache import CacheShape
from server.engine.torch.codegen import PARALLEL_FAMILIES, ParallelDecoder
from server.engine.torch.linear import WeightFormat, refit_linears
from server.engine.torch.weights import ModelFiles, load_pretrained

REGISTERED_FAMILIES = frozenset({"llama", "qwen2", "qwen3", "starcoder2", "gpt_bigcode"})
"""Families whose layers pass their keyword arguments on to a standard attention function."""


class Decoder(Protocol):
    def hidden(self, token_ids: Tensor, positions: Tensor, attention: Attention) -> Tensor:
        """Return hidden states: int64 [T] each -> [T, C]."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits: [N, C] -> [N, V]."""
        ...


class TransformersDecoder(nn.Module):
    """Implements `Decoder` with a transformers model, which it changes and moves to the device."""

    def __init__(self, model: Any, weight_format: WeightFormat) -> None:
        super().__init__()
        refit_linears(model, weight_format)
        model.set_attn_implementation(ROW_ATTENTION)
        model.to(weight_format.device)
        self._layers = model.base_model
        self._head = model.get_output_embeddings()

    def hidden(self, token_ids: Tensor, positions: Tensor, attention: Attention) -> Tensor:
        out = self._layers(
            input_ids=token_ids[None], position_ids=positions[None], use_cache=False, row_attention=attention
        )
        return out.last_hidden_state[0]

    def logits(self, hidden: Tensor) -> Tensor:
        return self._head(hidden)


def open_decoder(files: ModelFiles, weight_format: WeightFormat) -> Decoder:
    """Load the weights beside `files`. Raises ModelBroken for an unknown family, and for damaged files."""
    family = files.config.model_type
    if family in PARALLEL_FAMILIES:
        return ParallelDecoder(files.config, StoredWeights(files.folder), weight_format)
    if family in REGISTERED_FAMILIES:
        return TransformersDecoder(load_pretrained(files, weight_format.dtype), weight_format)
    known = ", ".join(sorted(PARALLEL_FAMILIES | REGISTERED_FAMILIES))
    raise ModelBroken(
        f"This is a model of the family {family}, which the torch engine does not run (it runs {known}): "
        "serve it with vLLM, and use --engine upstream."
    )


def cache_shape(config: Any) -> CacheShape:
    """Return the cache that a model with transformers' `config` needs."""
    heads = config.num_attention_heads
    shared = 1 if getattr(config, "multi_query", False) else getattr(config, "num_key_value_heads", None)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return CacheShape(config.num_hidden_layers, shared or heads, head_dim, config.max_position_embeddings)
