"""Builds that fail: the error names the input, and no partial corpus is left."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from acepilot.corpus import CorpusUnusable, read_corpus_manifest
from acepilot.errors import ConfigError, NotEnoughDisk
from finetune.corpus.build import build
from finetune.corpus.executors import Runner
from finetune.corpus.options import BuildOptions
from tests.finetune.handmade import (
    MIT,
    SHOPS,
    Scraped,
    build_here,
)

TABLE = "".join(f"def row_{n}(value):\n    return value * {n} + {n**3 % 977}\n\n\n" for n in range(5000))


def no_corpus(out: Path) -> bool:
    """Return whether there is neither a corpus nor a partial one."""
    return not out.exists() and not list(out.parent.glob(f".{out.name}*"))


def test_an_empty_repository_is_an_error_with_its_reasons(scraped: Scraped, tmp_path: Path) -> None:
    folder = scraped({"alpha": {"LICENSE": MIT, "dist/app.js": "1\n", "notes.txt": "words\n"}})
    with pytest.raises(CorpusUnusable, match=r"dropped every file of 1 repositories.*build output \(1\)"):
        build_here(BuildOptions((folder,)), tmp_path / "corpus")
    assert no_corpus(tmp_path / "corpus")


def test_no_permissive_repository_is_an_error(scraped: Scraped, tmp_path: Path) -> None:
    folder = scraped({"alpha": SHOPS["alpha"]})
    with pytest.raises(
        CorpusUnusable, match=r"No repository is under an allowed licence \(found: MIT; allowed: ISC\)"
    ):
        build_here(BuildOptions((folder,), allowed=("ISC",)), tmp_path / "corpus")
    assert no_corpus(tmp_path / "corpus")


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    options = BuildOptions(
        (tmp_path,),
        heldout_share=1.5,
        problems=(tmp_path / "no.jsonl",),
        model=tmp_path / "no",
        sequence_tokens=2,
    )
    with pytest.raises(ConfigError) as caught:
        build_here(options, tmp_path / "corpus")
    for words in (
        "has no sources.jsonl",
        "no.jsonl does not exist",
        "heldout-share",
        "is not a folder",
        "too short",
    ):
        assert words in caught.value.message


@pytest.mark.parametrize("line", ["not json\n", '{"question": "?"}\n', "[1]\n"])
def test_damaged_records_are_named_by_file_and_line(scraped: Scraped, tmp_path: Path, line: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"prompt": "a", "completion": "b", "text": "c"}\n' + line)
    folder = scraped({"alpha": SHOPS["alpha"]})
    for options in (
        BuildOptions((folder,), replay=(path,)),
        BuildOptions((folder,), instructions=(path,)),
        BuildOptions((folder,), problems=(path,)),
    ):
        with pytest.raises(ConfigError, match=r"records\.jsonl, line 2"):
            build_here(options, tmp_path / "corpus")
        assert no_corpus(tmp_path / "corpus")


def test_a_corpus_is_never_overwritten(scraped: Scraped, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        build_here(BuildOptions((scraped({"alpha": SHOPS["alpha"]}),)), tmp_path / "corpus")


def test_the_files_of_a_killed_build_are_removed(scraped: Scraped, tmp_path: Path) -> None:
    (tmp_path / ".corpus.building" / "corpus" / "documents").mkdir(parents=True)
    build_here(BuildOptions((scraped({"alpha": SHOPS["alpha"]}),)), tmp_path / "corpus")
    assert not (tmp_path / ".corpus.building").exists()
    assert read_corpus_manifest(tmp_path / "corpus").documents["train"]


def test_a_full_disk_leaves_no_partial_corpus(scraped: Scraped, tmp_path: Path) -> None:
    folder = scraped({"alpha": SHOPS["alpha"]})

    def on_progress(stage: str, done: int, tasks: int) -> None:
        if stage == "documents" and done == tasks:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NotEnoughDisk, match="free some space"):
        build(
            BuildOptions((folder,)),
            tmp_path / "corpus",
            lambda logs: Runner(logs, workers=1, on_progress=on_progress),
            log=lambda _: None,
        )
    assert no_corpus(tmp_path / "corpus")


@pytest.mark.slow
def test_a_really_full_disk_is_reported_in_a_sentence(scraped: Scraped, tmp_path: Path) -> None:
    big = {name: dict(files) | {"src/big.py": TABLE} for name, files in SHOPS.items()}
    folder, disk = scraped(big), tmp_path / "disk"
    disk.mkdir()
    repository = Path(__file__).parents[3]
    build_there = f"{sys.executable} -m finetune.corpus {folder} --out {disk}/corpus"
    command = f"mount -t tmpfs -o size=300k tmpfs {disk} && {build_there}; ls -A {disk}"
    unshared = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]
    if subprocess.run([*unshared, f"mount -t tmpfs tmpfs {disk}"], capture_output=True).returncode != 0:
        pytest.skip("this machine does not let users mount a small disk")
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run([*unshared, command], capture_output=True, text=True, env=environment)
    assert f"error: The disk of {disk} is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""  # no file is left


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusUnusable, match="is not a corpus"):
        read_corpus_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"hash": "1"}))
    with pytest.raises(CorpusUnusable, match="is damaged"):
        read_corpus_manifest(tmp_path)
