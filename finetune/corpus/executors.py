"""How the stages of a build run: on this machine's cores, on Slurm or on Ray, by datatrove's executors.

Each stage is a list of datatrove steps, split into tasks; tasks know their number and nothing of the machine,
so that every executor and every number of workers gives the same files.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import multiprocess
from datatrove.executor.base import PipelineExecutor
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from loguru import logger

from acepilot.disk import is_full_disk
from acepilot.errors import AcepilotError, ConfigError

# datatrove logs each task to the terminal, and failures with the values of variables, which is users' code.
# Every worker imports this module, since it unpickles a `Runner`'s executor.
logger.disable("datatrove")

ExecutorName = Literal["local", "slurm", "ray"]
Pipeline = Sequence[PipelineStep]
_POLL_S = 0.2


class StageFailed(AcepilotError):
    """A stage broke, or a cluster gave up on it."""

    code = "stage_failed"


class _Local(LocalPipelineExecutor):
    """datatrove's own; defined here so that a worker that unpickles it imports this module."""


@dataclass(frozen=True)
class Runner:
    """Runs stages one after the other. `told` hears (stage, tasks done, tasks)."""

    logs: Path
    executor: ExecutorName = "local"
    workers: int = -1
    partition: str | None = None
    time_limit: str = "4:00:00"
    queue_poll_s: float = 10.0
    on_progress: Callable[[str, int, int], None] = lambda stage, done, tasks: None

    def run(self, name: str, pipeline: Pipeline, tasks: int) -> None:
        """Return when all tasks are done. Raises StageFailed, OSError (disk full), or what a stage raised."""
        logs = self.logs / name
        with self._telling(name, logs, tasks):
            try:
                executor = self._executor(name, list(pipeline), tasks, logs)
                executor.run()
                self._wait(executor, name)
            except AcepilotError:
                raise
            except OSError as error:
                if is_full_disk(error):
                    raise  # the build says which disk
                raise StageFailed(f"The stage {name} failed: {error}") from error
            except subprocess.CalledProcessError as error:
                raise StageFailed(f"Slurm refused the stage {name}: {error}") from error

    def counts(self, name: str) -> Counter[str]:
        """The stage's own counters (`stat_update` of its steps), summed over all tasks."""
        total: Counter[str] = Counter()
        for path in sorted((self.logs / name / "stats").glob("*.json")):
            for step in cast(list[dict[str, Any]], json.loads(path.read_text(encoding="utf-8"))):
                for label, value in step["stats"].items():
                    total[label] += round(
                        cast(dict[str, float], value)["total"] if isinstance(value, dict) else value
                    )
        return total

    def _executor(self, name: str, pipeline: list[Any], tasks: int, logs: Path) -> PipelineExecutor:
        if self.executor == "local":
            workers = min(tasks, self.workers if self.workers > 0 else os.cpu_count() or 1)
            # Not forked from here, where threads run; a server that has imported everything forks them.
            context = cast(Any, multiprocess)
            context.set_start_method("forkserver", force=True)
            context.set_forkserver_preload(["finetune.corpus.build"])
            return _Local(pipeline, tasks=tasks, workers=workers, logging_dir=str(logs))
        if self.executor == "ray":
            if find_spec("ray") is None:
                raise ConfigError("--executor ray needs Ray: pip install 'ray[default]'.")
            from datatrove.executor.ray import RayPipelineExecutor

            return RayPipelineExecutor(pipeline, tasks=tasks, workers=self.workers, logging_dir=str(logs))
        if self.partition is None:
            raise ConfigError("--executor slurm needs --partition.")
        from datatrove.executor.slurm import SlurmPipelineExecutor

        return SlurmPipelineExecutor(
            pipeline,
            tasks=tasks,
            time=self.time_limit,
            partition=self.partition,
            workers=self.workers,
            job_name=f"acepilot-{name}",
            logging_dir=str(logs),
            env_command=f"export PATH={Path(sys.executable).parent}:$PATH",
        )

    def _wait(self, executor: PipelineExecutor, name: str) -> None:
        """Slurm only takes jobs: wait until every task has left its mark, or the job is gone without one."""
        job = getattr(executor, "job_id", None)
        while job not in (None, -1) and executor.get_incomplete_ranks():
            queue = subprocess.run(
                ["squeue", "--noheader", "--jobs", str(job)], capture_output=True, text=True
            )
            if not queue.stdout.strip() and executor.get_incomplete_ranks():
                raise StageFailed(
                    f"Slurm's job {job} ended, and the stage {name} is not whole. Its last words: "
                    + _last_words(self.logs / name / "slurm_logs")
                )
            time.sleep(self.queue_poll_s)

    @contextmanager
    def _telling(self, name: str, logs: Path, tasks: int) -> Generator[None]:
        """Counts the marks that finished tasks leave, while the stage runs."""
        finished = threading.Event()

        def watch() -> None:
            while not finished.wait(_POLL_S):
                self.on_progress(name, min(len(list((logs / "completions").glob("*"))), tasks - 1), tasks)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            finished.set()
            watcher.join()
        self.on_progress(name, tasks, tasks)


def _last_words(slurm_logs: Path) -> str:
    """The last line of the newest log: the build's folder, and the logs with it, are cleared away."""
    logs = sorted(slurm_logs.glob("*"), key=lambda path: path.stat().st_mtime)
    lines = logs[-1].read_text(encoding="utf-8", errors="replace").split("\n") if logs else []
    return next((line[:300] for line in reversed(lines) if line.strip()), "none; see `sacct`.")
