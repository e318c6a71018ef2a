"""Weights that were published as pickles only become safetensors: a step of fetching (acepilot/hub.py).

Opening a pickle can run any program. `torch.load(weights_only=True)` refuses what is no data, and after this
step nothing opens the pickle again. Only this module of the core imports torch, and only for such a model,
which needs torch to be served anyway.
"""

# torch is typed in part: what it gives is checked here, and known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import json
import re
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acepilot.errors import ConfigError, ModelBroken
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
            "-e '.[torch]', or take a model that is published as safetensors."
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
    with byte_progress("rewriting pickled weights as safetensors", total_bytes) as told:
        for file, inside in shards.items():
            done_bytes += _write({name: tensors[name] for name in inside}, folder / file)
            told(done_bytes)
    rest = [name for name in names if name not in pickled]
    if plan.is_sharded:
        rest.append(f"model.safetensors{INDEX}")
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (folder / rest[-1]).write_text(json.dumps(index, indent=2), encoding="utf-8")
    return [*rest, *shards]


def _read_all(paths: list[Path]) -> "dict[str, Tensor]":
    tensors: dict[str, Tensor] = {}
    for path in paths:
        found = _read(path)
        if twice := tensors.keys() & found.keys():
            raise _unreadable(path, f"another file has its tensor {min(twice)}, too")
        tensors.update(found)
    return tensors


def _read(path: Path) -> "dict[str, Tensor]":
    import torch

    try:
        # A zip archive is mapped, and takes no memory. torch before 1.6 wrote another form.
        found: Any = torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        # torch's own text stays out of the sentence: it says how to open the file without this check.
        raise _unreadable(path, "it is damaged, or asks for more than tensors") from error
    if not isinstance(found, dict) or not found or not all(map(_is_named_tensor, found.items())):
        raise _unreadable(path, "it is no plain table of tensors")
    return dict(found)


def _is_named_tensor(item: tuple[Any, Any]) -> bool:
    """True for what safetensors can hold."""
    import torch

    name, value = item
    return (
        isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"  # and not "meta", which has no values
        and not value.is_quantized
        and not value.is_complex()
    )


def _write(tensors: "dict[str, Tensor]", target: Path) -> int:
    """Return how many bytes were written."""
    import torch
    from safetensors.torch import save_file

    # safetensors takes neither views of another order nor two tensors that share memory: these are copies.
    whole = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    save_file(whole, target, {"format": "pt"})
    return sum(tensor.nbytes for tensor in whole.values())


def _unreadable(path: Path, why: str) -> ModelBroken:
    return ModelBroken(
        f"{path.name} holds no weights that can be read safely ({why}). Take a model that is published as "
        "safetensors, or convert this one where you trust it, and give the folder."
    )
