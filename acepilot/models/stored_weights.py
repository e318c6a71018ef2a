"""A model's weights in their files: read tensor by tensor, written in shards, and rewritten if pickled.

Fetching, the torch engine and every conversion use this module. They import torch only when
weights are read or written.
"""

# safetensors and torch are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acepilot.errors import ModelBroken
from acepilot.models.json_file import read_object
from acepilot.models.manifest import INDEX
from acepilot.models.pickled_weights import PICKLED, read_pickled, unreadable
from acepilot.progress import byte_progress

if TYPE_CHECKING:
    from torch import Tensor

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
                    stored = read_pickled(path)
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
            places: Any = read_object(index).get("weight_map")
            files: set[Any] = set(places.values()) if isinstance(places, dict) else {None}
            if not all(isinstance(file, str) and file == Path(file).name for file in files):
                raise ModelBroken(f"{index} does not name files beside it. Fetch or export the model again.")
            return [folder / file for file in sorted(files)]
        if (folder / stem).is_file():
            return [folder / stem]
    raise ModelBroken(f"{folder} holds neither model.safetensors nor pytorch_model.bin.")


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


def rewrite_pickled(folder: Path, names: list[str], shard_bytes: int = SHARD_BYTES) -> list[str]:
    """Rewrite the pickled files among a model's files `names`; return the names of its files afterwards.

    Raises ModelBroken when a pickled file holds anything but named tensors.
    """
    pickled = [name for name in names if PICKLED.fullmatch(name)]
    if not pickled:
        return names
    tensors: dict[str, Tensor] = {}
    for name in pickled:
        found = read_pickled(folder / name)
        if twice := tensors.keys() & found.keys():
            raise unreadable(folder / name, f"another file has its tensor {min(twice)}, too")
        tensors |= found
    # safetensors takes neither transposed views nor two tensors that share memory: write copies.
    copies = ((name, tensor.detach().contiguous().clone()) for name, tensor in tensors.items())
    total_bytes = sum(tensor.nbytes for tensor in tensors.values())
    with byte_progress("rewriting pickled weights as safetensors", total_bytes) as on_progress:
        written = write_shards(copies, folder, shard_bytes=shard_bytes, on_progress=on_progress)
    return [*(name for name in names if name not in pickled), *written]
