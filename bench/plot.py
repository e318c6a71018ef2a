"""Draw pictures for docs/benchmarks.md from the JSON of the benchmarks.

    python -m bench typing --json replay.json
    python -m bench load --json server.json
    python -m bench plot replay.json server.json --out docs/benchmarks

Each picture is named after its file.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from acepilot.cli import program
from bench import drawing


@program()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="JSON")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for file in options.files:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if "measured" in document:
            drawing.draw_server(document, options.out / f"{file.stem}.svg")
        elif any(" without " in replay["name"] for replay in document["replays"]):
            drawing.draw_levers(document, options.out / f"{file.stem}.svg")
        else:
            drawing.draw_replay(document, options.out / f"{file.stem}.svg")
            drawing.draw_tokens(document, options.out / f"{file.stem}-cost.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
