"""Between the two programs: the scrape's folder. `sources.jsonl` has a line for each settled source."""

import json
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from acepilot.corpus import CorpusUnusable

SOURCES_FILE = "sources.jsonl"
REPOSITORIES = "repos"


class SourceRecord(BaseModel):
    """One source that was fetched and judged. `key` is the source as it was asked for.

    `nested_licences`: subfolders with a licence text of their own, such as vendored code. `dropped_files`:
    left out because of their size.
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
    """All settled sources, in order. A last line that a kill cut short is ignored: it is done again."""
    path = out / SOURCES_FILE
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    settled: dict[str, SourceRecord] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = SourceRecord.model_validate_json(line)
            settled[one.key] = one  # the last word on a source counts
        except ValidationError as error:
            if number == len(lines):  # no newline after it: the writer was killed
                break
            raise CorpusUnusable(
                f"{path}, line {number} is damaged: remove that line and scrape again."
            ) from error
    return list(settled.values())


def append_source_record(out: Path, settled: SourceRecord) -> None:
    """Written through to the disk, after whatever an earlier kill left half-written was cut off."""
    with (out / SOURCES_FILE).open("a+b") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.write(json.dumps(settled.model_dump(), ensure_ascii=False, sort_keys=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
