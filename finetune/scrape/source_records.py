"""Read and write `sources.jsonl` in a scraped folder: one line for each source that was fetched and judged.

`finetune.scrape` writes it, and `finetune.corpus` reads it.
"""

import json
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from acepilot.corpus import CorpusUnusable

SOURCES_FILE = "sources.jsonl"


class SourceRecord(BaseModel):
    """One source that was fetched and judged. `key` is the source as the user named it.

    `nested_licences` has the licence of subfolders with a licence text of their own, such as vendored code.
    `dropped_files` counts the files left out because of their size or name, or because they cannot be read.
    """

    model_config = ConfigDict(extra="forbid")

    key: str
    id: str
    folder: str
    location: str
    revision: str
    status: Literal["kept", "refused"]
    licence: str
    licence_evidence: str
    nested_licences: dict[str, str] = {}
    files: int = 0
    size_bytes: int = 0
    dropped_files: int = 0
    reason: str = ""


def read_source_records(out: Path) -> list[SourceRecord]:
    """Return all records in order. A last line that a kill cut short is ignored: it is fetched again."""
    path = out / SOURCES_FILE
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    records: dict[str, SourceRecord] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = SourceRecord.model_validate_json(line)
            records[record.key] = record  # the last record of a source is valid
        except ValidationError as error:
            if number == len(lines):  # without a newline: the writer was killed
                break
            raise CorpusUnusable(
                f"{path}, line {number} is damaged: remove that line and scrape again."
            ) from error
    return list(records.values())


def append_source_record(out: Path, record: SourceRecord) -> None:
    """Append a record and flush it to the disk; first remove a partial last line that a kill left."""
    with (out / SOURCES_FILE).open("a+b") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.write(json.dumps(record.model_dump(), ensure_ascii=False, sort_keys=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
