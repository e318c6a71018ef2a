"""Fetches a starter model into the registry: checked against its hash, resumed where it stopped, only once.

python scripts/fetch_model.py starter         a real code model, half a billion parameters (Apache-2.0)
python scripts/fetch_model.py starter-tiny    for tests of the plumbing
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from acepilot.errors import AcepilotError
from acepilot.manifest import Manifest, ModelFile, sha256_of
from acepilot.progress import byte_progress
from acepilot.registry import add, exclusive, is_whole, models_dir
from acepilot.starter import STARTERS, StarterModel, download
from server.engine.gguf_rewrite import needs_rewriting, rewrite_as_q8_0


def fetch(model: StarterModel, console: Console) -> None:
    with byte_progress(f"fetching {model.name}", model.size_bytes, console) as told:
        published = download(
            model, told, say=lambda line: console.print(line, highlight=False, soft_wrap=True)
        )
    ready = published
    if needs_rewriting(published):
        ready = published.with_suffix(".q8_0.part")
        with byte_progress(f"rewriting {model.name} as Q8_0", model.size_bytes, console) as told:
            rewrite_as_q8_0(published, ready, told)
    file = ModelFile(sha256=sha256_of(ready), size_bytes=ready.stat().st_size)
    manifest = Manifest(
        id=model.name,
        format="gguf",
        files={"model.gguf": file},
        base=model.base,
        source_sha256=model.sha256,
        licence=model.licence,
        dtype="Q8_0" if ready != published else "as published",
        context_tokens=model.context_tokens,
        notes=model.notes,
    )
    add(model.name, {ready: "model.gguf"}, manifest)
    published.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=sorted(STARTERS), nargs="?", default="starter")
    console = Console(stderr=True)
    name: str = parser.parse_args().model
    folder: Path = models_dir() / name
    try:
        if is_whole(name):
            console.print(f"{name} is here already: {folder}", highlight=False, soft_wrap=True)
            return 0
        with exclusive(f"fetch-{name}"):
            if not is_whole(name):  # another process may have fetched it while this one waited
                fetch(STARTERS[name], console)
    except KeyboardInterrupt:
        console.print("stopped; what was fetched is kept, and the next run goes on from there")
        return 130
    except AcepilotError as error:
        console.print(f"[red]error:[/red] {error.message}", highlight=False, soft_wrap=True)
        return 1
    console.print(f"{name} is ready: {folder}", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
