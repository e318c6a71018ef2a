"""The whole story with a random CodeGen: every program is started, and nothing is done twice."""

import json
import os
import subprocess
import sys
from html import escape
from pathlib import Path

import pytest

from tests.eval_humaneval.programs import need_sandbox
from tests.needs import need_program

ROOT = Path(__file__).resolve().parents[2]


def replay(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ACEPILOT_HOME": str(folder / "users-home"), "DS_ACCELERATOR": "cpu"}
    command = [
        sys.executable,
        str(ROOT / "scripts/replay_story.py"),
        "--folder",
        str(folder / "story"),
        *words,
    ]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1100, cwd=folder)


@pytest.mark.parametrize("size", ["starter", "tiny", "codegen-2b", "codegen-6b"])
def test_a_dry_run_prints_every_command_and_touches_nothing(size: str, tmp_path: Path) -> None:
    done = replay(tmp_path, "--model", size, "--dry-run")
    assert done.returncode == 0, done.stderr
    order = [
        "-m finetune.scrape --out STORY/scraped/unseen-vue",
        "-m finetune.corpus.sample_replay",
        "--language vue",
        "--replay-share",
        "eval_humaneval run",
        f"finetune/configs/story-{'' if size in ('starter', 'tiny') else f'{size}-'}eager.yaml",
        "eval_humaneval compare STORY/tables/base/problems STORY/tables/eager/problems",
        f"finetune/configs/story-{'' if size in ('starter', 'tiny') else f'{size}-'}careful.yaml",
        "eval_humaneval compare STORY/tables/base/problems STORY/tables/careful/problems",
        "to go (guessed",
    ]
    told = done.stdout
    for words in order:
        _, found, told = told.partition(words)
        assert found, f"{words} is missing, or not in its place, in\n{done.stdout}"
    assert list(tmp_path.iterdir()) == []


def test_problems_that_a_size_does_not_ask_are_refused(tmp_path: Path) -> None:
    done = replay(tmp_path, "--model", "tiny", "--human-eval", "human-eval", "--dry-run")
    assert done.returncode == 2
    assert "leave out --human-eval" in done.stderr


@pytest.mark.timeout(1200)  # a minute and a half on two idle cores
def test_a_tiny_model_walks_the_whole_path_and_again_for_nothing(tmp_path: Path) -> None:
    need_sandbox()
    need_program("git", "apt-get install git")
    first = replay(tmp_path, "--model", "tiny")
    assert first.returncode == 0, first.stdout + first.stderr
    report = json.loads((tmp_path / "story/report.json").read_text())
    assert set(report["tables"]) == {"problems", "vue", "others"}
    assert report["tables"]["vue"]["careful"]["languages"]["vue"]["problems"] > 0
    assert report["gates"]["eager"]["verdict"] == report["gates"]["careful"]["verdict"] == "PASS"
    assert report["attempts"]["eager"]["rolled_back"]
    assert report["attempts"]["careful"]["promoted"]
    assert [len(losses) for losses in report["losses"].values()] == [2, 2]
    assert report["held_out"]["eager"]["method"] == "full"
    assert report["held_out"]["careful"]["method"] == "lora"
    assert "log_likelihood" in report["differences"]["vue"]["careful"]
    assert set(report["choice"]["candidates"][0]["drift"]) == {"python", "all"}
    page = (tmp_path / "story/report.html").read_text()
    assert all(escape(line, quote=False).partition("'")[0] in page for line in report["findings"])
    # all of it went into the story's own home
    assert not (tmp_path / "users-home/promotions").exists()
    history = json.loads((tmp_path / "story/home/promotions/history.json").read_text())
    assert history["promotions"][-1]["model"]["name"] == "story-careful"

    began = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "story/state").iterdir()}
    again = replay(tmp_path, "--model", "tiny")
    assert again.returncode == 0, again.stdout
    assert "16 of 16 steps are done already and are skipped" in again.stdout
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "story/state").iterdir()} == began
