"""A model's weights in their files, read one by one: for fetching, the torch engine and every export.

Only this module of the core imports torch, and only when weights are read.
"""

# safetensors and torch are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acepilot.errors import ModelBroken

if TYPE_CHECKING:
    from torch import Tensor


class StoredWeights(Mapping[str, "Tensor"]):
    """The tensors of a folder's files, one or several; reading one holds no other in memory.

    Raises ModelBroken when a file is missing or damaged, or when a tensor is asked for that is in none.
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
                f"{self._folder} lacks the tensor {name}: it was not copied or saved whole. Fetch or export "
                "the model again."
            )
        return reader(name)

    def __contains__(self, name: object) -> bool:
        return name in self._readers

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
    raise ModelBroken(f"{folder} holds neither model.safetensors nor pytorch_model.bin.")


def read_pickled(path: Path) -> "dict[str, Tensor]":
    """Read one of torch's own files. Raises ModelBroken when it holds anything but named tensors.

    Opening a pickle can run any program; `weights_only` refuses what is no data.
    """
    import torch

    try:
        # A zip archive is mapped, and takes no memory. torch before 1.6 wrote another form.
        found: Any = torch.load(path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        # torch's own text stays out of the sentence: it says how to open the file without this check.
        raise unreadable(path, "it is damaged, or asks for more than tensors") from error
    if not isinstance(found, dict) or not found or not all(map(_is_named_tensor, found.items())):
        raise unreadable(path, "it is no plain table of tensors")
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


def unreadable(path: Path, why: str) -> ModelBroken:
    """The error for a pickled file, to be raised."""
    return ModelBroken(
        f"{path.name} holds no weights that can be read safely ({why}). Take a model that is published as "
        "safetensors, or convert this one where you trust it, and give the folder."
    )
