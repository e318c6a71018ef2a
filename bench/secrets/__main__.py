"""Measure the rules that find secrets: recall on planted ones, alarms in files, speed.

    python -m bench secrets [--files FOLDER] [--seed 1]

The forms of development.txt follow the vendors' descriptions, and the rules were made with them. Those of
held_back.txt and its three successors were written without the rules in view; docs/corpus.md says what was
found at the first look. With --files, the place of each alarm is printed, without its value: look at them,
and count the false ones.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from acepilot.cli import program, text_console
from acepilot.errors import ConfigError
from acepilot.languages import language_for
from bench.secrets.planted import Planted, plant
from finetune.corpus.cleaning.redact import redact
from finetune.corpus.cleaning.secrets import find_secrets

SETS = {
    name: Path(__file__).with_name(f"{name}.txt")
    for name in ("development", "held_back", "second_held_back", "third_held_back", "fourth_held_back")
}
MAX_FILE_BYTES = 1_000_000  # the limit of `python -m finetune.corpus`


def missed(planted: list[Planted]) -> list[Planted]:
    """Return the forms of which a part is left after redaction."""
    return [one for one in planted if one.left_in(redact(one.text, one.language)[0])]


def texts_in(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of a known language, in a fixed order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".svg" and path.stat().st_size <= MAX_FILE_BYTES:
            if language_for(path=path.name).id == "plaintext" and path.suffix not in (
                ".txt",
                ".env",
                ".ini",
                ".cfg",
            ):
                continue
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def report_alarms(folder: Path) -> None:
    """Print the place of each alarm, then their number and the speed."""
    files = alarms = characters = 0
    seconds = 0.0
    for path, text in texts_in(folder):
        language = language_for(path=path.name).id
        started = time.process_time()
        redact(text, language)
        seconds += time.process_time() - started
        found = find_secrets(text, language)
        for start, end in found:
            line = text.count("\n", 0, start) + 1
            column = start - text.rfind("\n", 0, start)
            print(f"{path.relative_to(folder)}:{line}:{column}: {end - start} characters")
        files += 1
        alarms += len(found)
        characters += len(text)
    if not files:
        raise ConfigError(f"{folder} has no text files of a known language: check the path.")
    print(f"{alarms} alarms in {files:,} files, {alarms / files:.5f} a file")
    print(
        f"{characters / 1e6:.0f} MB redacted at {characters / 1e6 / max(seconds, 1e-9):.1f} MB/s of CPU time"
    )


@program()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=Path, metavar="FOLDER", help="count alarms in the files below it")
    parser.add_argument("--seed", type=int, default=1, help="of the planted values")
    options = parser.parse_args()
    table = Table("planted", "forms", "redacted", "recall")
    left: list[Planted] = []
    for name, path in SETS.items():
        planted = plant(path, options.seed)
        failed = missed(planted)
        left += failed
        found = len(planted) - len(failed)
        table.add_row(name, str(len(planted)), str(found), f"{found / len(planted):.1%}")
    text_console().print(table)
    for one in left:
        print(f"missed: {one.name}")
    if options.files is not None:
        report_alarms(options.files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
