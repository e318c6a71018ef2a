"""Weights that were published as pickles only become safetensors: a step of fetch.py.

After this step nothing opens a pickle again. Such a model needs torch to be fetched, as it needs torch to be
served.
"""

# torch is typed in part: what it gives is checked here, and known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from acepilot.errors import ConfigError
from acepilot.models.stored_weights import read_pickled, unreadable
from acepilot.progress import byte_progress

if TYPE_CHECKING:
    from torch import Tensor

PICKLED = re.compile(r"pytorch_model[\w.-]*\.bin")
INDEX = ".index.json"
"""After the name of the weights: which tensor is in which file, where there are several."""

SHARD_BYTES = 1_000_000_000
"""Of one written file, unless a single tensor is larger. Each is copied to memory before it is written, so
this limits the memory that CodeGen-6B's pickle of 14 GB needs."""


def check_torch(model: str) -> None:
    """Raise ConfigError when torch is missing, which reads the pickled weights of `model`."""
    if find_spec("torch") is None or find_spec("safetensors") is None:
        raise ConfigError(
            f"The weights of {model} are published as pickles only; reading them needs torch: pip install "
            "-e '.[torch]' in Acepilot's folder, or take a model that is published as safetensors."
        )


def rewrite_all(folder: Path, names: list[str], shard_bytes: int = SHARD_BYTES) -> list[str]:
    """Return the names of a model's files once its weights are safetensors; pickled ones are rewritten.

    Raises ModelBroken when a pickled file holds anything but named tensors.
    """
    pickled = [name for name in names if PICKLED.fullmatch(name)]
    if not pickled:
        return names
    from huggingface_hub import split_state_dict_into_shards_factory

    tensors = _read_all([folder / name for name in pickled])
    plan = split_state_dict_into_shards_factory(
        tensors,
        get_storage_size=lambda tensor: tensor.nbytes,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=shard_bytes,
    )
    shards = plan.filename_to_tensors
    total_bytes = sum(tensor.nbytes for tensor in tensors.values())
    done_bytes = 0
    with byte_progress("rewriting pickled weights as safetensors", total_bytes) as on_progress:
        for file, inside in shards.items():
            done_bytes += _write({name: tensors[name] for name in inside}, folder / file)
            on_progress(done_bytes)
    rest = [name for name in names if name not in pickled]
    if plan.is_sharded:
        rest.append(f"model.safetensors{INDEX}")
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (folder / rest[-1]).write_text(json.dumps(index, indent=2), encoding="utf-8")
    return [*rest, *shards]


def _read_all(paths: list[Path]) -> "dict[str, Tensor]":
    tensors: dict[str, Tensor] = {}
    for path in paths:
        found = read_pickled(path)
        if twice := tensors.keys() & found.keys():
            raise unreadable(path, f"another file has its tensor {min(twice)}, too")
        tensors.update(found)
    return tensors


def _write(tensors: "dict[str, Tensor]", target: Path) -> int:
    """Return how many bytes were written."""
    from safetensors.torch import save_file

    # safetensors takes neither views of another order nor two tensors that share memory: these are copies.
    whole = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    save_file(whole, target, {"format": "pt"})
    return sum(tensor.nbytes for tensor in whole.values())
