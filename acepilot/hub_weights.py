"""Weights as torch pickled them, rewritten as safetensors: a step of fetching from a hub (acepilot/hub.py).

The first CodeGens were published as `pytorch_model.bin` only. Such a file is a zip archive with a pickle in
it, and a pickle can run anything. It is read here once, by a reader that knows tensors and nothing else, and
never opened again. torch.load(weights_only=True) reads it so, too, but this package does without torch.
"""

import json
import math
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from acepilot.errors import ModelBroken
from acepilot.progress import byte_progress

PICKLED = re.compile(r"pytorch_model[\w.-]*\.bin")
INDEX = ".index.json"
"""After the name of the weights: which tensor is in which file, where there are several."""

COPY_BYTES = 1 << 22
STORAGES = {
    "DoubleStorage": ("F64", 8),
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
}
"""torch's name -> safetensors' name, bytes of a number."""


@dataclass(frozen=True)
class _Storage:
    dtype: str
    item_bytes: int
    key: str


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    first_item: int
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.storage.item_bytes


def rewrite_all(folder: Path, names: list[str]) -> list[str]:
    """The names of a model's files once all its weights are safetensors; what is pickled is rewritten."""
    renamed = {
        name: f"{name.removeprefix('pytorch_').removesuffix('.bin')}.safetensors"
        for name in names
        if PICKLED.fullmatch(name)
    }
    if not renamed:
        return names
    total_bytes = sum((folder / name).stat().st_size for name in renamed)
    before = 0
    with byte_progress("rewriting pickled weights as safetensors", total_bytes) as told:
        for name, target in renamed.items():
            rewrite_as_safetensors(
                folder / name, folder / target, lambda done, before=before: told(before + done)
            )
            before += (folder / name).stat().st_size
    rest = [name for name in names if name not in renamed and not name.endswith(f".bin{INDEX}")]
    if len(renamed) > 1:
        rest.append(f"model.safetensors{INDEX}")
        _rewrite_index(folder / f"pytorch_model.bin{INDEX}", folder / rest[-1], renamed)
    return [*rest, *renamed.values()]


def _rewrite_index(source: Path, target: Path, renamed: Mapping[str, str]) -> None:
    try:
        index = json.loads(source.read_text(encoding="utf-8"))
        index["weight_map"] = {tensor: renamed[file] for tensor, file in index["weight_map"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelBroken(f"{source.name} does not say which tensor is in which file ({error!r}).") from error
    target.write_text(json.dumps(index, indent=2), encoding="utf-8")


def rewrite_as_safetensors(source: Path, target: Path, told: Callable[[int], None] = lambda _: None) -> None:
    """Writes the tensors of `source` to `target`. `told` hears how many bytes were written so far.

    Raises ModelBroken for a file that holds anything else.
    """
    try:
        with zipfile.ZipFile(source) as archive, target.open("wb") as out:
            inside = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(inside) as pickled:
                found = _TensorsOnly(pickled).load()
            tensors = {name: value for name, value in found.items() if isinstance(value, _Tensor)}
            if not tensors or len(tensors) != len(found):
                raise ValueError("it is no plain table of tensors")
            _write(tensors, archive, inside.removesuffix("data.pkl"), out, told)
    except (
        zipfile.BadZipFile, pickle.UnpicklingError, StopIteration, LookupError, ValueError, TypeError,
        AttributeError, EOFError,
    ) as error:  # fmt: skip
        raise ModelBroken(
            f"{source.name} holds no weights that can be read safely ({error}). Take a model that is "
            "published as safetensors, or convert this one where you trust it, and give the folder."
        ) from error


class _TensorsOnly(pickle.Unpickler):
    """Knows the few names that a table of tensors needs, and refuses all others."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        match module_name, global_name:
            case "collections", "OrderedDict":
                return OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return _tensor
            case "torch._utils", "_rebuild_parameter":
                return _parameter
            case "torch", name if name in STORAGES:
                return name
            case _:
                raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")

    def persistent_load(self, pid: Any) -> Any:
        kind, storage, key, _location, _items = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"it asks for a {kind}")
        dtype, item_bytes = STORAGES[storage]
        return _Storage(dtype, item_bytes, str(key))


def _tensor(
    storage: _Storage, first_item: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> _Tensor:
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            raise ValueError("a tensor in it is a view of another order")
        expected *= size
    return _Tensor(storage, first_item, tuple(shape))


def _parameter(tensor: _Tensor, *_: object) -> _Tensor:
    return tensor


def _write(
    tensors: Mapping[str, _Tensor],
    archive: zipfile.ZipFile,
    root: str,
    out: BinaryIO,
    told: Callable[[int], None],
) -> None:
    """Layout: https://huggingface.co/docs/safetensors#format"""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.size_bytes
        header[name] = {
            "dtype": tensor.storage.dtype,
            "shape": tensor.shape,
            "data_offsets": [start, end],
        }
    described = json.dumps(header).encode()
    described += b" " * (-len(described) % 8)
    out.write(struct.pack("<Q", len(described)) + described)
    done = 0
    for tensor in tensors.values():
        with archive.open(f"{root}data/{tensor.storage.key}") as data:
            data.seek(tensor.first_item * tensor.storage.item_bytes)
            missing = tensor.size_bytes
            while missing:
                piece = data.read(min(missing, COPY_BYTES))
                if not piece:
                    raise ValueError("a tensor in it is cut off")
                out.write(piece)
                missing -= len(piece)
                done += len(piece)
                told(done)
