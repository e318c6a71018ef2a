"""Fetches a starter model into the registry: checked against its hash, resumed where it stopped, only once.

python scripts/fetch_model.py starter         a real code model, half a billion parameters (Apache-2.0)
python scripts/fetch_model.py starter-tiny    for tests of the plumbing
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from acepilot.cli import program, text_console
from acepilot.disk import HOME_ADVICE, full_disk_told
from acepilot.manifest import Manifest, ModelFile, sha256_of
from acepilot.progress import byte_progress
from acepilot.registry import add, exclusive, is_whole, models_dir
from acepilot.starter import STARTERS, StarterModel, download
from server.engine.gguf_rewrite import needs_rewriting, rewrite_as_q8_0


def fetch(model: StarterModel, console: Console) -> None:
    with byte_progress(f"fetching {model.name}", model.size_bytes, console) as told:
        published = download(model, told, say=console.print)
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


@program(resumes=True)
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=sorted(STARTERS), nargs="?", default="starter")
    console = text_console(stderr=True)
    name: str = parser.parse_args().model
    folder: Path = models_dir() / name
    if is_whole(name):
        console.print(f"{name} is here already: {folder}")
        return 0
    with exclusive(f"fetch-{name}"):
        if not is_whole(name):  # another process may have fetched it while this one waited
            with full_disk_told(models_dir(), HOME_ADVICE):
                fetch(STARTERS[name], console)
    console.print(f"{name} is ready: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
