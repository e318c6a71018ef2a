"""Start real training processes on the CPU, for the tests of this folder."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

TIMEOUT_S = 120
REPOSITORY = Path(__file__).resolve().parents[3]
SMALL = {
    "model": "tiny", "method": "full", "sequence_tokens": 64, "micro_batch": 2, "steps": 6, "warmup_steps": 1,
    "learning_rate": 3e-3, "checkpointing": True, "threads": 1, "eval_every": 3, "eval_rows": 4,
    "save_every": 3, "report": "none", "precision": "fp32", "lora": {"r": 4, "dropout": 0.0},
}  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """A run that ended."""

    code: int
    output: str
    run: Path

    @property
    def losses(self) -> list[float]:
        lines = (self.run / "losses.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def arguments(run: Path, corpus: Path, *overrides: str) -> list[str]:
    """Return the command line of train.py for a small recipe beside `run`."""
    recipe = run.with_suffix(".yaml")
    recipe.write_text(yaml.safe_dump({**SMALL, "corpus": str(corpus), "output": str(run)}))
    return [str(REPOSITORY / "finetune/train.py"), "--config", str(recipe), *overrides]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "ACEPILOT_HOME": str(home), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}


def launch(home: Path, run: Path, corpus: Path, *overrides: str) -> Finished:
    """Run two processes with DeepSpeed's launcher, as a user does."""
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_gpus", "2"]
    launcher += ["--master_port", str(free_port()), *arguments(run, corpus, *overrides)]
    done = subprocess.run(
        launcher,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=home,
    )
    return Finished(done.returncode, done.stdout + done.stderr, run)


def start(
    home: Path, run: Path, corpus: Path, *overrides: str, processes: int = 2
) -> list[subprocess.Popen[str]]:
    """Start the processes without the launcher, which only sets ranks and doubles the time to start."""
    port, started = str(free_port()), list[subprocess.Popen[str]]()
    for rank in range(processes):
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        process = subprocess.Popen(
            [sys.executable, *arguments(run, corpus, *overrides)],
            env={**environment(home), **ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=home,
        )
        started.append(process)
    return started


def kill(started: list[subprocess.Popen[str]]) -> None:
    """Kill the processes, as kill -9 does."""
    for process in started:
        process.kill()
        process.communicate()


def train(home: Path, run: Path, corpus: Path, *overrides: str, processes: int = 2) -> Finished:
    started = start(home, run, corpus, *overrides, processes=processes)
    try:
        outputs = [process.communicate(timeout=TIMEOUT_S)[0] for process in started]
    finally:
        kill(started)
    return Finished(max(abs(process.returncode) for process in started), "".join(outputs), run)
