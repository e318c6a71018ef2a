"""A model's weights in their files: read tensor by tensor, written in shards, and rewritten if pickled.

Fetching, the torch engine and every conversion use this module. Of the core, only this module imports torch,
and only when weights are read or written.
"""

# safetensors and torch are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acepilot.errors import ConfigError, ModelBroken
from acepilot.models.manifest import INDEX
from acepilot.progress import byte_progress

if TYPE_CHECKING:
    from torch import Tensor

PICKLED = re.compile(r"pytorch_model[\w.-]*\.bin")

SHARD_BYTES = 1_000_000_000
"""Size limit of one written file, unless a single tensor is larger. A shard is in memory while it is written;
so this limits the memory that converting needs."""


class StoredWeights(Mapping[str, "Tensor"]):
    """The tensors of a folder by name; each is read from its file on access.

    Raises ModelBroken when a file is missing or damaged, and on access to a tensor that no file holds.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self._folder = folder
        self._readers: dict[str, Any] = {}
        for path in _weight_files(folder):
            try:
                if path.suffix == ".safetensors":
                    reader: Any = safe_open(path, "pt")
                    self._readers |= dict.fromkeys(reader.keys(), reader.get_tensor)
                else:
                    stored = _read_pickled(path)
                    self._readers |= dict.fromkeys(stored, stored.__getitem__)
            except (OSError, SafetensorError) as error:
                raise ModelBroken(
                    f"{path} cannot be read: {str(error).splitlines()[0]} Fetch or export the model again."
                ) from error

    def __getitem__(self, name: str) -> "Tensor":
        reader = self._readers.get(name)
        if reader is None:
            raise ModelBroken(
                f"{self._folder} lacks the tensor {name}: the folder was not copied or saved completely. "
                "Fetch or export the model again."
            )
        return reader(name)

    def __contains__(self, name: object) -> bool:
        return name in self._readers

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def _weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files, or torch's own files (as of the first CodeGens) if there are none."""
    for stem in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{stem}{INDEX}"
        if index.is_file():
            places: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            return [folder / name for name in sorted(set(places.values()))]
        if (folder / stem).is_file():
            return [folder / stem]
    raise ModelBroken(f"{folder} holds neither model.safetensors nor pytorch_model.bin.")


def _read_pickled(path: Path) -> "dict[str, Tensor]":
    """Read one of torch's own files. Raises ModelBroken when it holds anything but named tensors.

    Opening a pickle can run any program; `weights_only` refuses everything but data.
    """
    import torch

    try:
        # A zip archive is memory-mapped. Files of torch before 1.6 are not archives.
        found: Any = torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        # torch's message stays out of ours: it says how to open the file without this check.
        raise _unreadable(path, "it is damaged, or asks for more than tensors") from error
    is_table = isinstance(found, dict) and all(  # of tensors that safetensors can hold
        isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"  # a tensor on "meta" has no values
        and not value.is_quantized
        and not value.is_complex()
        for name, value in found.items()
    )
    if not is_table or not found:
        raise _unreadable(path, "it is not a plain table of tensors")
    return dict(found)


def _unreadable(path: Path, why: str) -> ModelBroken:
    return ModelBroken(
        f"{path.name} holds no weights that can be read safely ({why}). Take a model that is published as "
        "safetensors; or, if you trust this one, convert it to safetensors yourself and give the folder."
    )


def write_shards(
    tensors: "Iterable[tuple[str, Tensor]]",
    folder: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Write model.safetensors, or shards and their index, and return the names of the files.

    `tensors` must be contiguous and share no memory. `on_progress` gets the bytes written so far.
    """
    from safetensors.torch import save_file

    shards: list[list[str]] = []
    shard: dict[str, Tensor] = {}
    size_bytes = total_bytes = 0

    def save() -> None:
        save_file(shard, folder / f"{len(shards)}.part", {"format": "pt"})
        shards.append(list(shard))
        on_progress(total_bytes)

    for name, tensor in tensors:
        if shard and size_bytes + tensor.nbytes > shard_bytes:
            save()
            shard, size_bytes = {}, 0
        shard[name] = tensor
        size_bytes += tensor.nbytes
        total_bytes += tensor.nbytes
    save()
    count = len(shards)
    if count == 1:
        (folder / "0.part").rename(folder / "model.safetensors")
        return ["model.safetensors"]
    files = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    for number, file in enumerate(files):
        (folder / f"{number}.part").rename(folder / file)
    places = {name: file for file, names in zip(files, shards, strict=True) for name in names}
    index = {"metadata": {"total_size": total_bytes}, "weight_map": places}
    (folder / f"model.safetensors{INDEX}").write_text(json.dumps(index, indent=2), encoding="utf-8")
    return [f"model.safetensors{INDEX}", *files]


def check_torch(model: str) -> None:
    """Raise ConfigError when torch, which reads the pickled weights of `model`, is missing."""
    if find_spec("torch") is None or find_spec("safetensors") is None:
        raise ConfigError(
            f"The weights of {model} are published as pickles only, and reading pickles needs torch: pip "
            "install 'acepilot[torch]', or take a model that is published as safetensors."
        )


def rewrite_pickled(folder: Path, names: list[str], shard_bytes: int = SHARD_BYTES) -> list[str]:
    """Rewrite the pickled files among a model's files `names`; return the names of its files afterwards.

    Raises ModelBroken when a pickled file holds anything but named tensors.
    """
    pickled = [name for name in names if PICKLED.fullmatch(name)]
    if not pickled:
        return names
    tensors: dict[str, Tensor] = {}
    for name in pickled:
        found = _read_pickled(folder / name)
        if twice := tensors.keys() & found.keys():
            raise _unreadable(folder / name, f"another file has its tensor {min(twice)}, too")
        tensors |= found
    # safetensors takes neither transposed views nor two tensors that share memory: write copies.
    copies = ((name, tensor.detach().contiguous().clone()) for name, tensor in tensors.items())
    total_bytes = sum(tensor.nbytes for tensor in tensors.values())
    with byte_progress("rewriting pickled weights as safetensors", total_bytes) as on_progress:
        written = write_shards(copies, folder, shard_bytes=shard_bytes, on_progress=on_progress)
    return [*(name for name in names if name not in pickled), *written]
