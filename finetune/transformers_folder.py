"""The second step after acepilot/models/resolve.py: a resolved model as a folder that transformers opens.

Most models are such a folder already. A GGUF file, such as the starter, is written once as safetensors into
ACEPILOT_HOME/cache/training. Training, exporting a run and packing a corpus start from this folder.
"""

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from acepilot.errors import ConfigError
from acepilot.models.manifest import sha256_of
from acepilot.models.registry import ModelFolder, exclusive, models_dir
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
    name = model.name if is_starter else f"{model.name}-{sha256_of(gguf)[:12]}"
    return made_once(name, convert)


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """Return ACEPILOT_HOME/cache/training/NAME; if it is missing, `make` fills it first."""
    target = home() / "cache" / "training" / name
    with exclusive(f"training-{name}"):
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(mkdtemp(prefix=f".{name}.", dir=target.parent))
            try:
                make(staging)
                staging.chmod(0o755)
                staging.rename(target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return target
