"""The second step after acepilot/models/resolve.py: a resolved model as a folder that transformers opens.

Most models are such a folder already. A GGUF file, such as the starter, is written once as safetensors into
ACEPILOT_HOME/cache/training. Training, exporting a run and packing a corpus start from this folder.
"""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from acepilot.errors import ConfigError
from acepilot.models.conversions import Source, make_once
from acepilot.models.known_hashes import known_hashes
from acepilot.models.registry import ModelFolder, models_dir
from acepilot.models.starter import STARTERS
from acepilot.settings import home

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
"""Files from which transformers loads a tokenizer; a folder has some of them."""

CONVERSION = 1
"""The version of the conversion. A new number makes every kept folder invalid."""


def transformers_folder(model: ModelFolder) -> Path:
    """Return a folder with config.json, weights and tokenizer; a GGUF is converted the first time.

    Raises ConfigError when a GGUF must be converted without torch, and ModelBroken when it cannot be read.
    """
    gguf = model.gguf
    if gguf is None:
        return model.path

    def convert(folder: Path) -> None:
        if find_spec("torch") is None:
            raise ConfigError(
                f"{gguf} is a GGUF file, and reading it needs torch: pip install 'acepilot[train]', or give "
                "a folder with tokenizer.json."
            )
        from finetune.gguf_folder import write_gguf_as_safetensors  # torch: building a corpus needs none

        write_gguf_as_safetensors(gguf, folder)

    is_starter = model.name in STARTERS and model.path == models_dir() / model.name
    source = Source(gguf, known_hashes(gguf)[gguf.name])
    name = model.name if is_starter else f"{model.name}-{source.sha256[:12]}"
    return training_folder(name, f"{source.sha256} form {CONVERSION}", convert, source)


def training_folder(
    name: str, made_from: str, make: Callable[[Path], object], source: Source | None = None
) -> Path:
    """Return ACEPILOT_HOME/cache/training/NAME, which `make` fills unless it is whole and of `made_from`.

    `source` is the file that `make` reads, if it reads one: see `make_once`.
    """
    folder = home() / "cache" / "training" / name

    def note(why: str) -> None:
        print(f"{folder} is made again: {why}.", file=sys.stderr)

    make_once(folder, made_from, make, on_fault=note, source=source)
    return folder
