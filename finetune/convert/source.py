"""What an export starts from: a resolved model's config, tokenizer, manifest, and weights read one by one."""

# torch and transformers are typed only in part; the tests check how they are used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from acepilot.errors import ModelBroken
from acepilot.models.manifest import Manifest
from acepilot.models.registry import ModelFolder
from acepilot.models.stored_weights import StoredWeights
from finetune.convert.gguf.tokenizer import cut_as_gguf_says

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
)


@dataclass(frozen=True)
class Source:
    """`weights` by the names that transformers gives them, each read when it is asked for. `tokenizer` is
    transformers', or None for a folder of weights alone."""

    path: Path
    config: Any
    tokenizer: Any
    weights: Mapping[str, Tensor]
    manifest: Manifest

    @property
    def dtype(self) -> str:
        return str(next(iter(self.weights.values())).dtype).removeprefix("torch.")


def open_source(model: ModelFolder) -> Source:
    """Raises ModelBroken when transformers cannot read `model`."""
    try:
        if model.gguf is not None:
            return _open_gguf(model, model.gguf)
        config: Any = AutoConfig.from_pretrained(model.path)
        tokenizer: Any = AutoTokenizer.from_pretrained(model.path) if model.has_tokenizer else None
        weights = StoredWeights(model.path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelBroken(
            f"{model.path} cannot be read: an export needs a folder as transformers saves one (config.json, "
            f"tokenizer, safetensors), or a GGUF. It says: {str(error).splitlines()[0]}"
        ) from error
    return Source(model.path, config, tokenizer, weights, _manifest(model, config))


def _open_gguf(model: ModelFolder, gguf: Path) -> Source:
    read: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer = cut_as_gguf_says(tokenizer, gguf)
    config = read.config
    del config.quantization_config  # the numbers are plain now
    weights = dict(read.named_parameters())
    return Source(gguf, config, tokenizer, weights, _manifest(model, config))


def _manifest(model: ModelFolder, config: Any) -> Manifest:
    """The model's own, or what can be known without one; the context is what its positions reach.

    A window that slides over all layers (the first Mistral) is, up to its own length, no window.
    """
    reach = int(config.max_position_embeddings)
    if getattr(config, "use_sliding_window", True):
        reach = min(reach, getattr(config, "sliding_window", None) or reach)
    found = model.manifest or Manifest(
        id=model.name,
        format="safetensors",
        files={},
        base=model.name,
        licence="as the base model's",
        dtype=str(config.dtype).removeprefix("torch."),
        context_tokens=reach,
    )
    return found.model_copy(update={"context_tokens": min(found.context_tokens, reach)})
