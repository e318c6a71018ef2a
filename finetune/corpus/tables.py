"""Build: read and write rows of Parquet tables. Only this module uses pyarrow, which has no types."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from acepilot.corpus import INPUT_IDS, LABELS, LANGUAGE, POSITION_IDS

_pa: Any = pyarrow
_parquet: Any = parquet
_BATCH = 256  # rows in memory at a time

_BLOCK: Any = _pa.struct(
    [
        ("type", _pa.string()),
        ("lang", _pa.string()),
        ("setup", _pa.bool_()),
        ("scoped", _pa.bool_()),
        ("start", _pa.int32()),
        ("end", _pa.int32()),
    ]
)
_WORDS = ("id", "text", "kind", "language", "repository", "source", "revision", "licence", "path", "sha256")
DOCUMENT: Any = _pa.schema(
    [
        *((name, _pa.string()) for name in _WORDS),
        ("prompt_chars", _pa.int32()),
        ("redactions", _pa.int32()),
        ("blocks", _pa.list_(_BLOCK)),
    ]
)

PACKED: Any = _pa.schema(
    [(LANGUAGE, _pa.string())]
    + [(name, _pa.list_(_pa.int32())) for name in (INPUT_IDS, POSITION_IDS, LABELS)]
)


def read_rows(
    path: Path, columns: Sequence[str] | None = None, language: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, or only those of `language`, with at most _BATCH rows in memory."""
    with _parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=list(columns) if columns else None):
            for row in batch.to_pylist():
                if language is None or row[LANGUAGE] == language:
                    yield row


def write_rows(path: Path, schema: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Write `rows`. Without rows, no file is made."""
    batch: list[dict[str, Any]] = []
    writer: Any = None
    try:
        for row in rows:
            if writer is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                writer = _parquet.ParquetWriter(path, schema)
            batch.append(row)
            if len(batch) == _BATCH:
                writer.write_batch(_pa.RecordBatch.from_pylist(batch, schema=schema))
                batch.clear()
        if batch:
            writer.write_batch(_pa.RecordBatch.from_pylist(batch, schema=schema))
    finally:
        if writer is not None:
            writer.close()
