"""Make what no program of the product makes: a base that is not a starter, and repositories for `tiny`.

steps.py calls these functions.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from acepilot.errors import AcepilotError
from acepilot.models.manifest import MANIFEST_FILE, Manifest
from acepilot.models.registry import models_dir
from acepilot.models.resolve import resolve
from acepilot.models.starter import STARTERS
from eval_humaneval.problems.builtin import vue_problems
from finetune.scrape.source_records import read_source_records
from finetune.scrape.sources import parse_source
from story.programs import ROOT
from story.sizes import TINY, Size

VUE_REPOSITORIES = ("vue-a", "vue-b", "vue-c", "vue-unseen")
PROBLEMS = 6
OTHER_REPOSITORIES = {"others-a": "acepilot", "others-b": "lsp", "others-unseen": "server"}


class SourceMissing(AcepilotError):
    """A repository of the story could not be fetched."""

    code = "source_missing"


def is_starter(size: Size) -> bool:
    return size.base in STARTERS


def folder_to_train(size: Size, home: Path) -> Path:
    """Return the folder of the base as transformers opens it: config, weights and tokenizer."""
    at_home = is_starter(size) or size.base == TINY.base
    return home / ("cache/training" if at_home else "models") / size.base.replace("/", "--")


def bring(model: str) -> None:
    """Put `tiny`, or the model with the hub id `model`, into the registry of ACEPILOT_HOME.

    Raises the errors of `resolve`. Without a network, copy the hub's files to STORY/home/models/OWNER--NAME
    first.
    """
    if model != TINY.base:
        resolve(model)
        return
    if (models_dir() / model / MANIFEST_FILE).is_file():
        return
    from finetune.convert.folder import write_folder  # imports torch, which --dry-run does without
    from finetune.modeling.tiny import make_tiny_model

    manifest = Manifest(
        id=model, format="safetensors", files={}, base=model, licence="Apache-2.0", dtype="float32",
        context_tokens=256, notes="Random weights.",
    )  # fmt: skip
    write_folder(models_dir() / model, manifest, lambda folder: make_tiny_model(folder))


def check_sources(folder: Path, wanted: Sequence[str]) -> None:
    """Raise SourceMissing when a source was not fetched: the scrape continues without it, but the story must
    not.

    Sources that were refused for their licence, and those of a recipe, may be missing.
    """
    settled = {one.key for one in read_source_records(folder)}
    missing = [text for text in wanted if ":" in text and parse_source(text).key not in settled]
    if missing:
        raise SourceMissing(
            f"Not fetched: {', '.join(missing)}. The step's log has the reason: remove it, and start again."
        )


def write_own_repositories(target: Path) -> None:
    """Write the sources of `tiny`: built-in Vue problems, Python of this repository, and six problems."""
    shutil.rmtree(target, ignore_errors=True)
    texts = [f"{one.prompt}{one.canonical}{one.tail}".split("// @acepilot")[0] for one in vue_problems()]
    for place, name in enumerate(VUE_REPOSITORIES):
        for number, text in enumerate(texts[place :: len(VUE_REPOSITORIES)][:6]):
            _write(target / name / f"src/Component{number}.vue", text)
    for name, package in OTHER_REPOSITORIES.items():
        for path in sorted((ROOT / package).glob("*.py"))[:6]:
            _write(target / name / package / path.name, path.read_text(encoding="utf-8"))
    problems = [
        {
            "task_id": f"HumanEval/{number}",
            "prompt": f"def plus_{number}(value: int) -> int:\n",
            "entry_point": f"plus_{number}",
            "canonical_solution": f"    return value + {number}\n",
            "test": f"def check(candidate):\n    assert candidate(1) == {number + 1}",
        }
        for number in range(PROBLEMS)
    ]
    _write(target / "problems.jsonl", "".join(json.dumps(problem) + "\n" for problem in problems))
    for name in (*VUE_REPOSITORIES, *OTHER_REPOSITORIES):
        shutil.copyfile(ROOT / "LICENSE", target / name / "LICENSE")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
