"""What an export starts from: a resolved model's config, tokenizer, manifest, and weights read one by one."""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from acepilot.errors import ModelBroken
from acepilot.manifest import Manifest
from acepilot.registry import ModelFolder
from finetune.convert.gguf_tokenizer import cut_as_gguf_says

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
    """`weights` by the names that transformers gives them, each read when it is asked for."""

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
        tokenizer: Any = AutoTokenizer.from_pretrained(model.path)
        weights = StoredWeights(model.path)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
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


class StoredWeights(Mapping[str, Tensor]):
    """The tensors of a folder's files, one or several; reading one holds no other in memory."""

    def __init__(self, folder: Path) -> None:
        self._readers: dict[str, Any] = {}
        for path in _weight_files(folder):
            if path.suffix == ".safetensors":
                reader: Any = safe_open(path, "pt")
                self._readers |= dict.fromkeys(reader.keys(), reader.get_tensor)
            else:
                stored: dict[str, Tensor] = torch.load(path, mmap=True, weights_only=True)
                self._readers |= dict.fromkeys(stored, stored.__getitem__)

    def __getitem__(self, name: str) -> Tensor:
        return self._readers[name](name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def _weight_files(folder: Path) -> list[Path]:
    """safetensors where there are any, else torch's own files: the first CodeGens were published as these."""
    for stem in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{stem}.index.json"
        if index.is_file():
            places: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            return [folder / name for name in sorted(set(places.values()))]
        if (folder / stem).is_file():
            return [folder / stem]
    raise OSError(f"{folder} holds neither model.safetensors nor pytorch_model.bin.")
