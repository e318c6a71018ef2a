"""Run the stages of a build on this machine's cores, on Slurm or on Ray, with datatrove's executors.

A stage is a list of datatrove steps, divided into tasks. A task depends on its number and not on the machine,
so every executor and every number of workers gives the same files.
"""

import json
import os
import shlex
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

# datatrove logs each task to the terminal, and failures with the values of variables, which hold users' code.
# Every worker runs this line too, because it imports this module to unpickle `_Local`.
logger.disable("datatrove")

ExecutorName = Literal["local", "slurm", "ray"]
Pipeline = Sequence[PipelineStep]
_POLL_S = 0.2  # seconds between two counts of finished tasks


class StageFailed(AcepilotError):
    """A stage failed, or a cluster ended its job early."""

    code = "stage_failed"


class _Local(LocalPipelineExecutor):
    """datatrove's local executor, defined here so that workers import this module."""


@dataclass(frozen=True)
class Runner:
    """Run stages. `on_progress` receives the stage, the number of finished tasks and that of all tasks."""

    logs: Path
    executor: ExecutorName = "local"
    workers: int = -1
    partition: str | None = None
    time_limit: str = "4:00:00"
    queue_poll_s: float = 10.0  # between two calls of squeue, which busy clusters limit
    on_progress: Callable[[str, int, int], None] = lambda stage, done, tasks: None

    def run(self, name: str, pipeline: Pipeline, tasks: int) -> None:
        """Run a stage and return when all tasks are done.

        Raises StageFailed, OSError when the disk is full, or the AcepilotError that a step raised.
        """
        logs = self.logs / name
        with self._reporting(name, logs, tasks):
            try:
                executor = self._executor(name, list(pipeline), tasks, logs)
                executor.run()
                self._wait(executor, name)
            except AcepilotError:
                raise
            except OSError as error:
                if is_full_disk(error):
                    raise  # build() reports which disk
                raise StageFailed(f"The stage {name} failed: {error}") from error
            except subprocess.CalledProcessError as error:
                raise StageFailed(f"Slurm refused the stage {name}: {error}") from error

    def counts(self, name: str) -> Counter[str]:
        """Return the counters of the stage's steps (`stat_update`), summed over all tasks."""
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
            # Workers are forked from a server process without threads, because this process has threads.
            context = cast(Any, multiprocess)
            context.set_start_method("forkserver", force=True)
            context.set_forkserver_preload(["finetune.corpus.fork_server", "finetune.corpus.build"])
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
            env_command=f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
        )

    def _wait(self, executor: PipelineExecutor, name: str) -> None:
        """Wait until every task of a Slurm job, which runs on after submission, is complete."""
        job = getattr(executor, "job_id", None)
        while job not in (None, -1) and executor.get_incomplete_ranks():
            queue = subprocess.run(
                ["squeue", "--noheader", "--jobs", str(job)], capture_output=True, text=True
            )
            if not queue.stdout.strip() and executor.get_incomplete_ranks():
                raise StageFailed(
                    f"Slurm's job {job} ended before the stage {name} was complete. The last line of its "
                    "log: " + _last_line(self.logs / name / "slurm_logs")
                )
            time.sleep(self.queue_poll_s)

    @contextmanager
    def _reporting(self, name: str, logs: Path, tasks: int) -> Generator[None]:
        """Report progress while the stage runs, by counting the files that finished tasks leave."""
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


def _last_line(slurm_logs: Path) -> str:
    """Return the last line of the newest log, which is removed together with the build's hidden folder."""
    logs = sorted(slurm_logs.glob("*"), key=lambda path: path.stat().st_mtime)
    lines = logs[-1].read_text(encoding="utf-8", errors="replace").split("\n") if logs else []
    return next((line[:300] for line in reversed(lines) if line.strip()), "none; see `sacct`.")
