"""The torch engine's runner: a model, its KV cache, and one step of both; its worker drives it.

`open_runner` is the way in. CodeGen and GPT-J run in layers of our own (torch_codegen.py); other families in
transformers' layers, whose attention is replaced.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from acepilot.errors import ModelBroken
from acepilot.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.torch_attention import ROW_ATTENTION, StepAttention
from server.engine.torch_cache import CacheShape, KvCache, affordable_slots
from server.engine.torch_codegen import ParallelDecoder
from server.engine.torch_linear import Numbers, refit_linears
from server.engine.torch_step import Chunk
from server.engine.torch_weights import best_numbers, load_pretrained

OWN_FAMILIES = frozenset({"codegen", "gptj"})
REGISTERED_FAMILIES = frozenset({"llama", "qwen2", "qwen3", "starcoder2", "gpt_bigcode"})
"""Families whose layers hand their keyword arguments on to the attention function, which is the plain one."""


class Decoder(Protocol):
    """A model without its cache."""

    def hidden(self, token_ids: Tensor, positions: Tensor, attention: StepAttention) -> Tensor:
        """int64 [T] each -> [T, C]."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """[N, C] -> [N, V]."""
        ...


class TransformersDecoder(nn.Module):
    """A causal model of transformers whose attention is ROW_ATTENTION."""

    def __init__(self, model: Any, numbers: Numbers) -> None:
        super().__init__()
        refit_linears(model, numbers)
        model.set_attn_implementation(ROW_ATTENTION)
        self._layers = model.base_model
        self._head = model.lm_head

    def hidden(self, token_ids: Tensor, positions: Tensor, attention: StepAttention) -> Tensor:
        out = self._layers(
            input_ids=token_ids[None], position_ids=positions[None], use_cache=False, row_attention=attention
        )
        return out.last_hidden_state[0]

    def logits(self, hidden: Tensor) -> Tensor:
        return self._head(hidden)


class TorchRunner:
    """See `Runner` in torch_step.py."""

    def __init__(self, decoder: Decoder, cache: KvCache, device: torch.device, vocabulary: int) -> None:
        self._decoder = decoder
        self._cache = cache
        self._device = device
        self.vocabulary = vocabulary
        self.slots = cache.slots
        self.slot_tokens = cache.slot_tokens

    @torch.inference_mode()
    def step(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        token_ids = [token for chunk in chunks for token in chunk.token_ids]
        positions = [at for chunk in chunks for at in range(chunk.start, chunk.start + len(chunk.token_ids))]
        wanted: list[int] = []
        end = 0
        for chunk in chunks:
            end += len(chunk.token_ids)
            wanted += range(end - chunk.logits, end)
        hidden = self._decoder.hidden(
            torch.tensor(token_ids, device=self._device),
            torch.tensor(positions, device=self._device),
            StepAttention(self._cache, chunks),
        )
        if not wanted:
            return np.empty((0, self.vocabulary), np.float32)
        logits = self._decoder.logits(hidden[torch.tensor(wanted, device=self._device)])
        return logits.float().cpu().numpy()

    @torch.inference_mode()
    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        self._cache.copy_prefix(source, target, tokens)


@dataclass(frozen=True)
class OpenedModel:
    """`tokenizer` is transformers'."""

    runner: TorchRunner
    tokenizer: Any


def open_runner(model: ModelFolder, options: EngineOptions) -> OpenedModel:
    """Loads the weights; takes seconds to minutes. Raises ModelBroken, with what to do."""
    if options.threads:
        torch.set_num_threads(options.threads)
    numbers = best_numbers(options.dtype)
    loaded, tokenizer = load_pretrained(model, numbers.dtype)
    config = loaded.config
    family = config.model_type
    if family not in OWN_FAMILIES | REGISTERED_FAMILIES:
        known = ", ".join(sorted(OWN_FAMILIES | REGISTERED_FAMILIES))
        raise ModelBroken(
            f"{model.path} is a model of the family {family}, which the torch engine does not run (it runs "
            f"{known}): serve it with vLLM and --engine upstream."
        )
    kind = ParallelDecoder if family in OWN_FAMILIES else TransformersDecoder
    decoder = kind(loaded, numbers).to(numbers.device)
    shape = cache_shape(config)
    slots = affordable_slots(shape, numbers, options)
    runner = TorchRunner(decoder, KvCache(shape, slots, numbers), numbers.device, config.vocab_size)
    return OpenedModel(runner, tokenizer)


def cache_shape(config: Any) -> CacheShape:
    heads = config.num_attention_heads
    cached_heads = getattr(config, "num_key_value_heads", None) or heads
    if getattr(config, "multi_query", False):
        cached_heads = 1
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return CacheShape(config.num_hidden_layers, cached_heads, head_dim, config.max_position_embeddings)
