"""Read weights in torch's own pickled files, as the first CodeGens have them, without running what they hold.

A pickle is a program. `weights_only` lets it build tensors alone; what is checked here before and after keeps
a small file from taking much memory or disk.
"""

# torch is typed in part: what it gives is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

import pickletools
import re
import zipfile
from errno import EINVAL
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from acepilot.errors import ConfigError, ModelBroken

if TYPE_CHECKING:
    from torch import Tensor

PICKLED = re.compile(r"pytorch_model[\w.-]*\.bin")

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of a file of torch before 1.6."""
LEGACY_PICKLES = 5
"""Magic number, protocol, system, the table of tensors, the storages' keys. Plain numbers follow."""

COPIES = 2
"""Tensors may hold this many times the bytes of their file: tied weights are stored once."""


def check_torch(model: str) -> None:
    """Raise ConfigError when torch, which reads the pickled weights of `model`, is missing."""
    if find_spec("torch") is None or find_spec("safetensors") is None:
        raise ConfigError(
            f"The weights of {model} are published as pickles only, and reading pickles needs torch: pip "
            "install 'acepilot[torch]', or take a model that is published as safetensors."
        )


def read_pickled(path: Path) -> "dict[str, Tensor]":
    """Return a file's tensors by name. Raises ModelBroken when it holds anything else, and OSError."""
    import torch

    try:
        is_archive = zipfile.is_zipfile(path)
        (_check_archive if is_archive else _check_legacy)(path)
        # An archive is memory-mapped.
        found: Any = torch.load(path, map_location="cpu", mmap=is_archive, weights_only=True)
    except ModelBroken:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        if isinstance(error, OSError) and error.errno != EINVAL:  # EINVAL: an impossible place in the file
            raise
        # torch's message stays out of ours: it says how to open the file without this check.
        raise unreadable(path, "it is damaged, or asks for more than tensors or more memory") from error
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
        raise unreadable(path, "it is not a plain table of tensors")
    if sum(tensor.nbytes for tensor in found.values()) > COPIES * path.stat().st_size:
        raise unreadable(path, "its tensors are far larger than the file")
    return dict(found)


def unreadable(path: Path, why: str) -> ModelBroken:
    return ModelBroken(
        f"{path.name} holds no weights that can be read safely ({why}). Take a model that is published as "
        "safetensors; or, if you trust this one, convert it to safetensors yourself and give the folder."
    )


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise unreadable(path, "it is compressed, which torch's own files are not")
        for member in archive.infolist():
            if member.filename.endswith(".pkl"):
                with archive.open(member) as file:
                    _check_pickle(path, file, member.file_size)


def _check_legacy(path: Path) -> None:
    with path.open("rb") as file:
        if _check_pickle(path, file, path.stat().st_size) != LEGACY_MAGIC:
            raise unreadable(path, "it is no file of torch, is damaged, or asks for more than tensors")
        for _ in range(LEGACY_PICKLES - 1):
            _check_pickle(path, file, path.stat().st_size)


def _check_pickle(path: Path, file: IO[bytes], size_bytes: int) -> object:
    """Read one pickle's instructions and return the first value. Raises ModelBroken for a trap.

    An unpickler keeps a table with a place for each number that PUT and its kin name: the largest number
    decides how much memory that table takes. Raises nearly anything for a damaged file.
    """
    first: object = None
    for operation, argument, _ in pickletools.genops(file):
        if first is None:
            first = argument if operation.name.startswith(("LONG", "INT", "BININT")) else None
        if operation.name.endswith("PUT") and int(argument or 0) > size_bytes:
            raise unreadable(path, "it asks for more memory than a file of its size needs")
    return first
