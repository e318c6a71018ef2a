"""Files that grow a line at a time, and survive being cut off: samples.jsonl and the judgements' cache."""

from pathlib import Path
from typing import IO


def open_for_lines(path: Path) -> IO[str]:
    """To append whole lines: the half line that a killed run may have left is cut away first."""
    if path.is_file():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            path.write_bytes(data[:whole])
    return path.open("a", encoding="utf-8")
