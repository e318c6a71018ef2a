"""JSON Lines files that stay readable after a crash: samples.jsonl and the cache of judgements."""

from pathlib import Path
from typing import IO


def open_for_append(path: Path) -> IO[str]:
    """Open `path` to append whole lines, after removing a half line that a killed run may have left."""
    if path.is_file():
        data = path.read_bytes()
        complete = data.rfind(b"\n") + 1
        if complete < len(data):
            path.write_bytes(data[:complete])
    return path.open("a", encoding="utf-8")
