"""Publishing: the files, the card with the gate's figures, no local paths, private by default."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from acepilot.models.manifest import Manifest
from acepilot.models.promotion import promote
from acepilot.models.publish import prepare
from acepilot.models.registry import register
from tests.acepilot.models.tuned_models import report, tuning, write_model, write_report
from tests.acepilot.models.upload_hub import REPOSITORY, TOKEN, UploadHub

SCRIPT = Path(__file__).parents[3] / "scripts" / "promote_model.py"
Publish = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tuned model in a registry, not promoted yet."""
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    return register(write_model(tmp_path / "tuned", "weights", tuning=tuning()), "ours-1").path


@pytest.fixture
def hub() -> Iterator[UploadHub]:
    with UploadHub() as hub:
        yield hub


@pytest.fixture
def publish(hub: UploadHub, tmp_path: Path) -> Publish:
    def run(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "http"))}
        hub_settings = {
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",  # the fake hub does not support this protocol
            "NO_PROXY": "127.0.0.1",
        }
        return subprocess.run(
            [sys.executable, str(SCRIPT), "publish", "ours-1", "--to", REPOSITORY, *flags],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=ours | hub_settings | environment,
        )

    return run


def promote_it(tmp_path: Path, model: Path) -> None:
    base = write_model(tmp_path / "base", "base weights")
    promote("ours-1", write_report(tmp_path, report(base, model)))


def test_the_folder_arrives_privately_with_card_and_manifest(
    hub: UploadHub, publish: Publish, tmp_path: Path, model: Path
) -> None:
    promote_it(tmp_path, model)
    done = publish()
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/{REPOSITORY}/commit/1" in done.stdout
    assert hub.visibility == "private"
    assert set(hub.files) == {"README.md", "manifest.json", "model.gguf", "tokenizer/vocab.txt"}
    assert hub.files["model.gguf"] == b"weights"
    card = hub.files["README.md"].decode()
    for text in (
        "base_model: Org/Base-1B",
        "license: apache-2.0",
        "d" * 64,
        "| vue | 2.5000 | 1.5000 | -1.0000 |",
        "## The gate: PASS",
        "Compared with base on 20",
        "| all | 80 | 20 | 30.0 | 34.4 | +4.4 | +2.9 | 4.0 | PASS |",
        "| vue | 40 | 20 | 30.0 | 39.2 | +9.2 | +7.8 | 4.0 | PASS |",
    ):
        assert text in card
    assert hub.requests == [
        "POST /api/repos/create",
        "GET /api/models/ours/model",
        "POST /api/validate-yaml",
        "POST /api/models/ours/model/preupload/main",
        "POST /ours/model.git/info/lfs/objects/batch",
        next(line for line in hub.requests if line.startswith("PUT /large/")),
        "POST /api/models/ours/model/commit/main",
    ], "and nothing else: no telemetry"


def test_what_arrived_can_be_added_elsewhere_and_names_no_path(
    hub: UploadHub, publish: Publish, tmp_path: Path
) -> None:
    assert publish().returncode == 0
    assert not any(b"alice" in content or b"secret-project" in content for content in hub.files.values())
    downloaded = tmp_path / "downloaded"
    for name, content in hub.files.items():
        (downloaded / name).parent.mkdir(parents=True, exist_ok=True)
        (downloaded / name).write_bytes(content)
    assert register(downloaded, "from-hub").manifest == Manifest.model_validate_json(
        hub.files["manifest.json"]
    )


def test_a_repository_never_changes_between_public_and_private(hub: UploadHub, publish: Publish) -> None:
    hub.visibility = "public"
    refused = publish()
    assert refused.returncode == 1
    assert "already exists on the hub and is public" in refused.stderr
    assert "No file was sent" in refused.stderr
    assert hub.files == {}
    assert publish("--public").returncode == 0
    hub.visibility = "private"
    assert "already exists on the hub and is private" in publish("--public").stderr
    assert publish("--private").returncode == 0


def test_a_dry_run_shows_card_and_files_and_sends_nothing(hub: UploadHub, publish: Publish) -> None:
    shown = publish("--dry-run")
    assert shown.returncode == 0
    for text in (
        "# tuned",
        "run the evaluation gate",
        "model.gguf",
        "manifest.json",
        "Nothing was sent",
        "private",
    ):
        assert text in shown.stdout
    assert hub.requests == []


def test_a_missing_token_a_refusal_and_a_missing_hub_are_explained(hub: UploadHub, publish: Publish) -> None:
    without = publish(HF_TOKEN="")
    assert (without.returncode, "set HF_TOKEN" in without.stderr) == (2, True)
    assert hub.requests == []
    hub.refuses_with = 403
    refused = publish()
    assert (refused.returncode, f"{hub.url} did not take" in refused.stderr) == (1, True)
    away = publish(HF_ENDPOINT="http://127.0.0.1:9")
    assert (away.returncode, "this machine reaches the hub" in away.stderr) == (1, True)
    offline = publish(HF_HUB_OFFLINE="1")
    assert (offline.returncode, "did not take" in offline.stderr) == (1, True)
    for failed in (refused, away, offline):
        assert "Traceback" not in failed.stderr


def test_a_card_quotes_only_a_report_about_these_files(tmp_path: Path, model: Path) -> None:
    other = write_model(tmp_path / "other", "other weights")
    about_another = write_report(tmp_path, report(other, other))
    promote("ours-1", about_another, force_reason="wrong file")
    assert "## The gate" not in prepare("ours-1").written["README.md"]


@pytest.mark.parametrize(
    ("base", "heading"), [("/home/alice/llama", "llama, tuned"), ("../llama", "llama, tuned")]
)
def test_a_base_that_is_a_folder_is_not_given_as_a_hub_id(tmp_path: Path, base: str, heading: str) -> None:
    register(write_model(tmp_path / "mine", "w", base=base, tuning=tuning(), licence="as the base model's"))
    card = prepare("mine").written["README.md"]
    assert "base_model:" not in card
    assert heading in card
    assert "license: other\n" in card
