"""Starts real training processes on CPU for the tests beside this file."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
SMALL = {
    "model": "tiny", "method": "full", "sequence_tokens": 64, "micro_batch": 2, "steps": 6, "warmup_steps": 1,
    "learning_rate": 3e-3, "checkpointing": True, "threads": 1, "eval_every": 3, "eval_rows": 4,
    "save_every": 3, "report": "none", "precision": "fp32", "lora": {"r": 4, "dropout": 0.0},
}  # fmt: skip


@dataclass(frozen=True)
class Finished:
    code: int
    told: str
    run: Path

    @property
    def losses(self) -> list[float]:
        lines = (self.run / "losses.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(run: Path, corpus: Path, *overrides: str, processes: int = 2) -> list[str]:
    """What starts a run of the small recipe in `run`; the launcher itself, as a user would call it."""
    recipe = run.with_suffix(".yaml")
    recipe.write_text(yaml.safe_dump({**SMALL, "corpus": str(corpus), "output": str(run)}))
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_gpus", str(processes)]
    launcher += ["--master_port", str(free_port())]
    return [*launcher, str(REPOSITORY / "finetune/train.py"), "--config", str(recipe), *overrides]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "ACEPILOT_HOME": str(home), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}


def train(
    home: Path, run: Path, corpus: Path, *overrides: str, processes: int = 2, timeout_s: float = 100
) -> Finished:
    done = subprocess.run(
        command(run, corpus, *overrides, processes=processes),
        env=environment(home), capture_output=True, text=True, timeout=timeout_s, check=False, cwd=home,
    )  # fmt: skip
    return Finished(done.returncode, done.stdout + done.stderr, run)
