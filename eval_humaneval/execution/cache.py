"""A cache of judgements: equal programs run once, and a later run reads the file of an earlier one."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ValidationError

from eval_humaneval.results import Outcome, open_for_append


@dataclass(frozen=True)
class Judgement:
    """The judge's result for one program. `detail` is the end of the program's output, or why it was stopped.
    `cpu_s` is user and system time of the whole process tree, compiling included."""

    outcome: Outcome
    detail: str
    cpu_s: float
    wall_s: float


class _Entry(BaseModel):
    key: str
    judgement: Judgement


class JudgementCache:
    """Thread-safe. With a `path`, judgements are appended there, and a later run reads them. An
    `infrastructure` outcome is never cached. A `timeout` is cached in memory only: a busy machine may have
    been its reason, so a later run tries again."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._judgements: dict[str, Future[Judgement]] = {}
        self._file: IO[str] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_for_append(path)
            for line in path.read_bytes().splitlines():
                with suppress(ValidationError):  # written by another version: the program runs again
                    entry = _Entry.model_validate_json(line)
                    self._judgements[entry.key] = Future()
                    self._judgements[entry.key].set_result(entry.judgement)

    def __enter__(self) -> "JudgementCache":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def get_or_run(self, key: str, run: Callable[[], Judgement]) -> tuple[Judgement, bool]:
        """Return the judgement, and whether it was cached. Concurrent callers with one key share a run."""
        with self._lock:
            cached = self._judgements.get(key)
            future = cached or self._judgements.setdefault(key, Future())
        if cached:
            return cached.result(), True
        try:
            judgement = run()
        except BaseException as error:
            self._forget(key)
            future.set_exception(error)
            raise
        if judgement.outcome == "infrastructure":
            self._forget(key)
        elif judgement.outcome != "timeout":
            with self._lock:
                if self._file is not None:
                    self._file.write(_Entry(key=key, judgement=judgement).model_dump_json() + "\n")
                    self._file.flush()
        future.set_result(judgement)
        return judgement, False

    def _forget(self, key: str) -> None:
        with self._lock:
            del self._judgements[key]
