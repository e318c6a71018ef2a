"""`python -m acepilot.models`, through its script: from a candidate to a rollback, and the list."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from acepilot.models.registry import register
from tests.acepilot.models.tuned_models import report, write_model, write_report

SCRIPT = Path(__file__).parents[3] / "scripts" / "promote_model.py"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


def test_the_command_from_candidate_to_rollback(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", "base weights")
    tuned = write_model(tmp_path / "tuned", "tuned weights")
    assert run("add", str(base)).returncode == 0
    assert run("add", str(tuned), "--name", "ours-1").returncode == 0
    failed = write_report(tmp_path / "failed", report(base, tuned, verdict="FAIL"))
    refused = run("promote", "ours-1", "--report", str(failed))
    assert (refused.returncode, "The gate says FAIL" in refused.stderr) == (1, True)
    unreasoned = run("promote", "ours-1", "--report", str(failed), "--force")
    assert (unreasoned.returncode, "--reason" in unreasoned.stderr) == (2, True)
    passed = write_report(tmp_path / "passed", report(base, tuned))
    promoted = run("promote", "ours-1", "--report", str(passed))
    assert "The current model is ours-1" in promoted.stdout
    assert "the gate: No language lost more than its margin." in promoted.stderr
    assert run("rollback").returncode == 0
    forced = run("promote", "ours-1", "--report", str(failed), "--force", "--reason", "[why] not")
    assert "overruled: The gate says FAIL" in forced.stderr

    listed = run("list").stdout
    for text in ("ours-1", "current", "rollback", "forced", "[why] not"):
        assert text in listed
    document = json.loads(run("list", "--json").stdout)
    assert document["current"] == "ours-1"
    assert list(document["models"]) == ["base", "ours-1"]
    assert [entry["action"] for entry in document["history"]] == ["promote", "rollback", "promote"]


def test_a_damaged_manifest_does_not_hide_the_other_models(tmp_path: Path) -> None:
    for name in ("second", "third"):
        register(write_model(tmp_path / name, name))
    (tmp_path / "home" / "models" / "second" / "manifest.json").write_text("{")
    listed = run("list")
    assert listed.returncode == 0
    assert "its manifest is damaged" in listed.stdout
    assert "third" in listed.stdout
