"""Rewrite weights that were published as pickles as safetensors: a step of fetch.py.

Afterwards nothing opens the pickles again. This step needs torch, and so does serving such a model.
"""

# torch is typed in part: what it gives is checked here, and known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from acepilot.errors import ConfigError
from acepilot.models.stored_weights import SHARD_BYTES, read_pickled, unreadable, write_shards
from acepilot.progress import byte_progress

if TYPE_CHECKING:
    from torch import Tensor

PICKLED = re.compile(r"pytorch_model[\w.-]*\.bin")


def check_torch(model: str) -> None:
    """Raise ConfigError when torch, which reads the pickled weights of `model`, is missing."""
    if find_spec("torch") is None or find_spec("safetensors") is None:
        raise ConfigError(
            f"The weights of {model} are published as pickles only, and reading pickles needs torch: pip "
            "install 'acepilot[torch]', or take a model that is published as safetensors."
        )


def rewrite_all(folder: Path, names: list[str], shard_bytes: int = SHARD_BYTES) -> list[str]:
    """Rewrite the pickled files among a model's files `names`; return the names of its files afterwards.

    Raises ModelBroken when a pickled file holds anything but named tensors.
    """
    pickled = [name for name in names if PICKLED.fullmatch(name)]
    if not pickled:
        return names
    tensors = _read_all([folder / name for name in pickled])
    # safetensors takes neither transposed views nor two tensors that share memory: write copies.
    copies = ((name, tensor.detach().contiguous().clone()) for name, tensor in tensors.items())
    total_bytes = sum(tensor.nbytes for tensor in tensors.values())
    with byte_progress("rewriting pickled weights as safetensors", total_bytes) as on_progress:
        written = write_shards(copies, folder, shard_bytes=shard_bytes, on_progress=on_progress)
    return [*(name for name in names if name not in pickled), *written]


def _read_all(paths: list[Path]) -> "dict[str, Tensor]":
    tensors: dict[str, Tensor] = {}
    for path in paths:
        found = read_pickled(path)
        if twice := tensors.keys() & found.keys():
            raise unreadable(path, f"another file has its tensor {min(twice)}, too")
        tensors.update(found)
    return tensors
