"""The model that writer.py traces: no matrix is in memory, attention is one operation, the cache is a list.

CodeGen and GPT-J are built in parallel.py. The other families keep transformers' layers with an attention
function that we register and that gets the cache as a keyword argument, so that nothing depends on the
signatures of transformers' layers and caches.
"""

from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface

from finetune.convert.openvino.layers import PastAttention, StoredLinear, StoredMatrix
from finetune.convert.openvino.parallel import PARALLEL_FAMILIES, ParallelModel
from finetune.convert.source import Source
from finetune.convert.streaming import empty_model

TRACED_ATTENTION = "acepilot_traced"
REGISTERED_FAMILIES = frozenset({"gpt_bigcode", "llama", "mistral", "qwen2", "qwen3", "starcoder2"})
"""Families with plain attention whose layers pass keyword arguments on to the attention function."""
FAMILIES = REGISTERED_FAMILIES | PARALLEL_FAMILIES


class TracedModel(nn.Module):
    """The traced function: inputs and cache in, logits and the longer cache out.

    int64 input_ids [B, T], attention_mask [B, P + T], position_ids [B, T]; `past` is float32 [B, H, P, D],
    keys and values of each layer in turn -> logits float32 [B, T, V], then `past` with the new tokens.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        is_parallel = source.config.model_type in PARALLEL_FAMILIES
        self.model = ParallelModel(source) if is_parallel else TransformersModel(source)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, past: list[Tensor]
    ) -> tuple[Tensor, ...]:
        attention = PastAttention(past, attention_mask, input_ids.shape[1])
        logits = self.model(input_ids, position_ids, attention)
        return logits, *attention.tensors


class TransformersModel(nn.Module):
    """A model of REGISTERED_FAMILIES."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        model = empty_model(source.config)
        model.set_attn_implementation(TRACED_ATTENTION)
        store_matrices(model, source)
        self.decoder = model.base_model
        self.head = model.get_output_embeddings()

    def forward(self, input_ids: Tensor, position_ids: Tensor, attention: PastAttention) -> Tensor:
        """Compute int64 [B, T] ids and positions -> float32 [B, T, V]."""
        out = self.decoder(
            input_ids=input_ids, position_ids=position_ids, use_cache=False, past_attention=attention
        )
        return self.head(out.last_hidden_state)


def traced_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    *,
    past_attention: PastAttention,
    **_: Any,
) -> tuple[Tensor, None]:
    """Compute float [B, H, T, D] -> [B, T, H, D]. The signature is transformers' attention interface."""
    layer: Any = module.layer_idx
    return past_attention(layer, query, key, value, scaling), None


AttentionInterface.register(TRACED_ATTENTION, traced_attention)


def store_matrices(model: Any, source: Source) -> None:
    """Change `model`, whose parameters are empty: replace matrices by StoredMatrix, and read all others."""
    first_names = {id(weight): name for name, weight in model.named_parameters()}

    def stored(module: nn.Module, *, table: bool) -> StoredMatrix:
        weight: Any = module.weight
        name = first_names[id(weight)]
        return StoredMatrix(name, tuple(weight.shape), lambda: source.weights[name].detach(), table=table)

    def read(parameter: Any) -> nn.Parameter:
        return nn.Parameter(source.weights[first_names[id(parameter)]].detach().float(), requires_grad=False)

    for parent in list(model.modules()):
        if isinstance(parent, nn.Linear | nn.Embedding):
            continue  # its parent replaces it
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.Linear):
                bias: Any = module.bias
                matrix = stored(module, table=False)
                setattr(parent, name, StoredLinear(matrix, None if bias is None else read(bias)))
            elif isinstance(module, nn.Embedding):
                setattr(parent, name, stored(module, table=True))
        for name, parameter in list(parent.named_parameters(recurse=False)):
            setattr(parent, name, read(parameter))
