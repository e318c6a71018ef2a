"""A hostile hub: what it answers deletes nothing, leaves no folder of ours, and has a limit."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from acepilot.errors import ModelBroken
from acepilot.models.hub.client import MAX_DESCRIPTION_BYTES
from acepilot.models.manifest import CARD_FILE, MANIFEST_FILE, Manifest, read_manifest
from acepilot.models.model_card import model_card
from acepilot.models.registry import register
from tests.acepilot.models.download_hub import MAX_SENT_BYTES, DownloadHub

RESOLVE = """
import sys
from acepilot.errors import AcepilotError
from acepilot.models.resolve import resolve
try:
    print(resolve("org/model").path)
except AcepilotError as error:
    sys.exit(f"{type(error).__name__}: {error.message}")
"""
FILES = {
    "config.json": b'{"model_type": "llama", "max_position_embeddings": 4096}',
    "tokenizer.json": b"{}",
    "model.safetensors": save({"a": torch.zeros(4)}),
}

Resolve = Callable[[], subprocess.CompletedProcess[str]]


def manifest(files: dict[str, bytes], **values: Any) -> dict[str, Any]:
    stored = {
        name: {"sha256": sha256(content).hexdigest(), "size_bytes": len(content)}
        for name, content in files.items()
    }
    return {
        "id": "model",
        "format": "safetensors",
        "files": stored,
        "base": "org/base",
        "licence": "MIT",
        "dtype": "float32",
        "context_tokens": 4096,
        **values,
    }


@pytest.fixture
def hub() -> Iterator[DownloadHub]:
    with DownloadHub() as hub:
        hub.files = dict(FILES)
        yield hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home deep inside the test's own folder: what an attack deletes is the test's."""
    return tmp_path / "a/b/c/d/home"


@pytest.fixture
def resolve(hub: DownloadHub, home: Path, tmp_path: Path) -> Resolve:
    def run() -> subprocess.CompletedProcess[str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "http"))}
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "ACEPILOT_HOME": str(home)}
        return subprocess.run(
            [sys.executable, "-c", RESOLVE],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env=ours | settings | {"NO_PROXY": "127.0.0.1"},
        )

    return run


@pytest.mark.parametrize(
    "commit", ["../../../..", "../..", "..", "x/../../../..", "/tmp/nowhere", "main", ""]
)
def test_a_commit_that_is_a_path_deletes_nothing(
    hub: DownloadHub, resolve: Resolve, home: Path, commit: str
) -> None:
    precious = [
        folder / "precious.txt" for folder in (home, home / "models", home / "downloads", *home.parents[:4])
    ]
    for path in precious:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("years of work")
    hub.commit = commit
    wrong = manifest({"config.json": b"something else"})
    hub.files[MANIFEST_FILE] = json.dumps(wrong).encode()
    assert "DownloadFailed: The hub names no commit of org/model" in resolve().stderr
    assert all(path.is_file() for path in precious)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.json",
        "/tmp/outside.json",
        "a/../../b.json",
        "C:\\\\a.json",
        "a//b.json",
        "a\nb.json",
        "./a.json",
    ],
)
def test_a_manifest_names_files_inside_the_folder_only(tmp_path: Path, name: str) -> None:
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(manifest({name: b"{}"})))
    with pytest.raises(ModelBroken, match="is damaged"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("endless", ["tokenizer.json", "model.safetensors"])
def test_a_file_that_does_not_end_is_given_up(
    hub: DownloadHub, resolve: Resolve, home: Path, endless: str
) -> None:
    hub.endless = endless
    done = resolve()
    assert f"DownloadFailed: {endless} is longer than the {len(FILES[endless])} bytes" in done.stderr
    assert hub.sent_bytes < MAX_SENT_BYTES / 4
    assert sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) < 10_000


def test_a_description_that_does_not_end_is_given_up(hub: DownloadHub, resolve: Resolve) -> None:
    hub.endless = "description"
    assert "DownloadFailed: The hub's description of org/model is longer than 16 MB" in resolve().stderr
    assert hub.sent_bytes < MAX_DESCRIPTION_BYTES * 4


def test_an_error_that_does_not_end_is_given_up(hub: DownloadHub, resolve: Resolve) -> None:
    hub.endless = "error"
    assert "DownloadFailed" in resolve().stderr
    assert hub.sent_bytes < MAX_SENT_BYTES / 4


def test_a_published_model_may_have_a_folder_inside(hub: DownloadHub, resolve: Resolve, home: Path) -> None:
    hub.files = {"inside/extra.json": b"{}", **FILES}
    hub.files[MANIFEST_FILE] = json.dumps(manifest(hub.files)).encode()
    done = resolve()
    assert done.returncode == 0, done.stderr
    assert (home / "models/org--model/inside/extra.json").read_bytes() == b"{}"


def test_a_card_cannot_write_to_the_terminal(hub: DownloadHub, resolve: Resolve, home: Path) -> None:
    hub.card = {"license": "\x1b]0;title\x07\x1b[31mMIT\nuntrue: 1", "base_model": ["\x1b[2J evil"]}
    assert resolve().returncode == 0
    fetched = read_manifest(home / "models/org--model")
    assert fetched.licence.isprintable()
    assert fetched.notes.isprintable()


@pytest.mark.parametrize("field", ["id", "base", "dtype", "licence", "notes", "data_hash"])
@pytest.mark.parametrize("text", ["\x1b[31mred", "two\nlines", "\u202eright to left", "x" * 100_000])
def test_a_manifest_cannot_write_to_the_terminal(tmp_path: Path, field: str, text: str) -> None:
    (tmp_path / MANIFEST_FILE).write_text(json.dumps(manifest(FILES, **{field: text})))
    with pytest.raises(ModelBroken) as raised:
        read_manifest(tmp_path)
    assert raised.value.message.replace("\n", "").isprintable()
    assert len(raised.value.message) < 1000


def test_a_licence_cannot_add_lines_to_the_cards_header() -> None:
    licence = 'free" # \\'
    card = model_card(Manifest.model_validate(manifest(FILES, licence=licence)))
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(card.split("---")[1])["license_name"] == licence


def test_a_folder_that_is_deeper_than_any_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    model = tmp_path / "model"
    model.mkdir()
    for name, content in FILES.items():
        (model / name).write_bytes(content)
    (model / CARD_FILE).write_text("card")
    (model / MANIFEST_FILE).write_text(json.dumps(manifest(FILES)))
    monkeypatch.chdir(model)
    for _ in range(1500):  # one path of this depth would be longer than the kernel accepts
        Path("d").mkdir()
        os.chdir("d")
    try:
        with pytest.raises(ModelBroken, match="is not a model's folder"):
            register(model)
    finally:
        for _ in range(1500):  # pytest could not remove it
            os.chdir("..")
            Path("d").rmdir()
