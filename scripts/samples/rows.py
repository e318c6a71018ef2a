"""Reads and writes rows of CSV files."""

import csv
from pathlib import Path


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, each a dictionary by column name."""
    with path.open(newline="") as file:
        ‸


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Writes `rows`, and a header of the first row's keys."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
