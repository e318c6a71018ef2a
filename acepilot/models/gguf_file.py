"""Open a GGUF file that may come from anybody.

The gguf package believes the counts in a file: four kilobytes that promise 2^60 numbers fill the memory. So
`check_gguf` walks through the header first and compares each count with the bytes that are there.
"""

import struct
from pathlib import Path
from typing import BinaryIO, NoReturn

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType

from acepilot.errors import ModelBroken

MAX_KEYS = 10_000
MAX_ITEMS = 4_000_000
"""In all arrays together. The largest vocabularies, with scores, types and merges, have 1.4 million. The gguf
package makes an object of each."""
MAX_TENSORS = 100_000
MAX_DIMENSIONS = 4
MAX_NAME_BYTES = 65_535
VERSIONS = (2, 3)

SCALAR_BYTES = {
    **dict.fromkeys((GGUFValueType.UINT8, GGUFValueType.INT8, GGUFValueType.BOOL), 1),
    **dict.fromkeys((GGUFValueType.UINT16, GGUFValueType.INT16), 2),
    **dict.fromkeys((GGUFValueType.UINT32, GGUFValueType.INT32, GGUFValueType.FLOAT32), 4),
    **dict.fromkeys((GGUFValueType.UINT64, GGUFValueType.INT64, GGUFValueType.FLOAT64), 8),
}


def open_gguf(path: Path) -> GGUFReader:
    """Return the gguf package's reader of `path`. Raises ModelBroken for a damaged file, and OSError."""
    check_gguf(path)
    try:
        return GGUFReader(path)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise _broken(path, str(error)) from error


def text_field(reader: GGUFReader, name: str) -> str:
    """Return a text of the file's metadata. Raises ModelBroken when it is missing or no text."""
    field = reader.fields.get(name)
    if field is None or field.types != [GGUFValueType.STRING]:
        raise ModelBroken(f"The GGUF file has no text `{name}`. Fetch or export the model again.")
    return str(field.contents())


def check_gguf(path: Path) -> None:
    """Compare every count in the header with the file's size. Raises ModelBroken, and OSError."""
    try:
        with path.open("rb") as file:
            _Header(path, file).check()
    except (struct.error, ValueError) as error:
        raise _broken(path, f"its header is cut off or damaged: {error}") from error


class _Header:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._size_bytes = path.stat().st_size
        self._items = 0

    def check(self) -> None:
        if self._file.read(4) != b"GGUF":
            self._refuse("it does not begin with `GGUF`")
        version, tensors, keys = self._number("I"), self._number("Q"), self._number("Q")
        if version not in VERSIONS:
            self._refuse(f"its version is {version}, and not {' or '.join(map(str, VERSIONS))}")
        if keys > MAX_KEYS or tensors > MAX_TENSORS:
            self._refuse(f"it promises {keys} keys and {tensors} tensors")
        for _ in range(keys):
            self._name()
            self._value(GGUFValueType(self._number("I")))
        ends = [self._tensor_end() for _ in range(tensors)]
        if max(ends, default=0) > self._size_bytes - self._file.tell():
            self._refuse("a tensor lies beyond the file's end: it was not copied or fetched completely")

    def _value(self, kind: GGUFValueType, *, in_array: bool = False) -> None:
        if kind == GGUFValueType.STRING:
            self._skip(self._number("Q"))
        elif kind != GGUFValueType.ARRAY:
            self._skip(SCALAR_BYTES[kind])
        elif in_array:
            self._refuse("it has an array of arrays, which no model needs")
        else:
            item, count = GGUFValueType(self._number("I")), self._number("Q")
            self._items += count
            if self._items > MAX_ITEMS:
                self._refuse(f"its arrays promise {self._items} items")
            if item in SCALAR_BYTES:
                self._skip(SCALAR_BYTES[item] * count)
            else:
                for _ in range(count):
                    self._value(item, in_array=True)

    def _tensor_end(self) -> int:
        """Read what the header says of one tensor, and return where its data ends, after the header."""
        self._name()
        dimensions = self._number("I")
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            self._refuse(f"a tensor has {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= self._number("Q")
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(self._number("I"))]
        return self._number("Q") + elements * block_bytes // block

    def _name(self) -> None:
        length = self._number("Q")
        if length > MAX_NAME_BYTES:
            self._refuse(f"a name has {length} bytes")
        self._skip(length)

    def _number(self, form: str) -> int:
        data = self._file.read(struct.calcsize(form))
        return struct.unpack(f"<{form}", data)[0]

    def _skip(self, size_bytes: int) -> None:
        if size_bytes > self._size_bytes - self._file.tell():
            self._refuse("its header promises more than the file holds")
        self._file.seek(size_bytes, 1)

    def _refuse(self, why: str) -> NoReturn:
        raise _broken(self._path, why)


def _broken(path: Path, why: str) -> ModelBroken:
    return ModelBroken(f"{path} cannot be read: {why}. Fetch or export the model again.")
