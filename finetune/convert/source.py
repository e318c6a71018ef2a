"""Open the source of a conversion: config, tokenizer, manifest, and weights that are read one at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from acepilot.errors import ModelBroken
from acepilot.models.manifest import Manifest, check_context
from acepilot.models.registry import ModelFolder
from acepilot.models.stored_weights import StoredWeights
from finetune.convert.gguf.tokenizer import with_named_pre_tokenizer
from finetune.gguf_folder import read_gguf


@dataclass(frozen=True)
class Source:
    """A model to convert. `weights` has transformers' names, and reads a weight at each access.

    `tokenizer` is transformers', or None for a folder that has only weights.
    """

    path: Path
    config: Any
    tokenizer: Any
    weights: Mapping[str, Tensor]
    manifest: Manifest

    @property
    def dtype(self) -> str:
        return str(next(iter(self.weights.values())).dtype).removeprefix("torch.")


def open_source(model: ModelFolder) -> Source:
    """Open `model`. Raises ModelBroken when transformers cannot read it."""
    try:
        if model.gguf is not None:
            return _open_gguf(model, model.gguf)
        config = cast(Any, AutoConfig.from_pretrained(model.path, trust_remote_code=False))
        tokenizer = (
            cast(Any, AutoTokenizer.from_pretrained(model.path, trust_remote_code=False))
            if model.has_tokenizer
            else None
        )
        weights = StoredWeights(model.path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelBroken(
            f"{model.path} cannot be read: a conversion needs a folder that transformers saved (config.json, "
            f"tokenizer, safetensors), or a GGUF. transformers says: {str(error).splitlines()[0]}"
        ) from error
    return Source(model.path, config, tokenizer, weights, _manifest(model, config))


def _open_gguf(model: ModelFolder, gguf: Path) -> Source:
    read, tokenizer = read_gguf(gguf)
    tokenizer = with_named_pre_tokenizer(tokenizer, gguf)
    weights = dict(read.named_parameters())
    return Source(gguf, read.config, tokenizer, weights, _manifest(model, read.config))


def _manifest(model: ModelFolder, config: Any) -> Manifest:
    """Return the model's manifest, or one made from its config; its context ends where positions stay exact.

    Where a sliding window covers all layers (the first Mistral), the context ends at its length: up to there
    the window changes nothing, and the converted form need not know it.
    """
    limit = int(config.max_position_embeddings)
    if getattr(config, "use_sliding_window", True):
        limit = min(limit, getattr(config, "sliding_window", None) or limit)
    check_context(limit, model.path)
    found = model.manifest or Manifest(
        id=model.name,
        format="safetensors",
        files={},
        base=model.name,
        licence="as the base model's",
        dtype=str(config.dtype).removeprefix("torch."),
        context_tokens=limit,
    )
    return found.model_copy(update={"context_tokens": min(found.context_tokens, limit)})
