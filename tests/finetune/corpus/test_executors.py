"""Builds on Slurm, played by small shell scripts, and errors for what an executor lacks."""

import os
import sys
from pathlib import Path

import pytest

from acepilot.errors import ConfigError
from finetune.corpus.build import build
from finetune.corpus.executors import Runner, StageFailed
from finetune.corpus.options import BuildOptions
from tests.finetune.handmade import Scraped, build_here, repository

# Runs the job's script for each number of its array, as Slurm does, and then answers.
SBATCH = """#!/bin/bash
for argument in "$@"; do script=$argument; done
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
for number in $(seq 0 "${last:-0}"); do
  SLURM_ARRAY_TASK_ID=$number SLURM_NODELIST=here bash "$script" >>"$SLURM_LOG" 2>&1
done
echo "Submitted batch job 17"
"""
SRUN = """#!/bin/bash
while [ $# -gt 0 ]; do
  case "$1" in -l) shift;; -n) shift 2;; *) break;; esac
done
if [ -n "$SLURM_BREAKS" ]; then exit 1; fi
exec "$@"
"""
SCONTROL = "#!/bin/bash\necho here\n"
SQUEUE = "#!/bin/bash\nexit 0\n"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "scontrol": SCONTROL, "squeue": SQUEUE}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    path = f"{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("SLURM_LOG", str(tmp_path / "slurm.log"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))


@pytest.mark.slow
def test_slurm_builds_the_same_corpus(slurm: None, scraped: Scraped, tmp_path: Path) -> None:
    options = BuildOptions((scraped({name: repository(name) for name in ("alpha", "beta")}),))
    here = build_here(options, tmp_path / "here")
    there = build(
        options,
        tmp_path / "there",
        lambda logs: Runner(logs, executor="slurm", partition="cpu", queue_poll_s=0.1),
        lambda _: None,
    )
    assert there == here


def test_a_slurm_job_that_ends_early_is_an_error(
    slurm: None, scraped: Scraped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_BREAKS", "1")
    options = BuildOptions((scraped({"alpha": repository("alpha")}),))
    with pytest.raises(StageFailed, match="before the stage clean was complete"):
        build(
            options,
            tmp_path / "out",
            lambda logs: Runner(logs, executor="slurm", partition="cpu", queue_poll_s=0.1),
            lambda _: None,
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("executor", "words"), [("slurm", "needs --partition"), ("ray", r"ray\[default\]")])
def test_an_error_names_what_an_executor_lacks(tmp_path: Path, executor: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Runner(tmp_path, executor=executor).run("clean", [], 1)  # pyright: ignore[reportArgumentType]


def test_the_progress_of_a_stage_ends_with_all_of_its_tasks(scraped: Scraped, tmp_path: Path) -> None:
    reports: list[tuple[str, int, int]] = []
    options = BuildOptions((scraped({"alpha": repository("alpha")}),))

    def on_progress(stage: str, done: int, tasks: int) -> None:
        reports.append((stage, done, tasks))

    build(
        options,
        tmp_path / "out",
        lambda logs: Runner(logs, workers=1, on_progress=on_progress),
        lambda _: None,
    )
    finished = [stage for stage, done, tasks in reports if done == tasks]
    assert finished == ["clean", "signatures", "buckets", "clusters", "documents"]
