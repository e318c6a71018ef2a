"""Identical programs run once: judge -> this -> the sandbox, if no equal program was judged before."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ValidationError

from eval_humaneval.execution.judgement import Judgement
from eval_humaneval.lines import open_for_lines


class _Line(BaseModel):
    key: str
    judgement: Judgement


class JudgementCache:
    """Thread-safe. With a `path`, judgements are appended there and found again by a later run.

    `infrastructure` is never remembered. A `timeout` is for this run only: a busy machine may have been its
    reason, and a run that resumes should not inherit that.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._judgements: dict[str, Future[Judgement]] = {}
        self._file: IO[str] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_for_lines(path)
            self._restore(path)

    def __enter__(self) -> "JudgementCache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def get_or_run(self, key: str, run: Callable[[], Judgement]) -> tuple[Judgement, bool]:
        """The judgement, and whether it was known. Who asks for what is being run waits for that run."""
        with self._lock:
            known = self._judgements.get(key)
            future = known or self._judgements.setdefault(key, Future())
        if known:
            return known.result(), True
        try:
            judgement = run()
        except BaseException as error:
            self._forget(key)
            future.set_exception(error)
            raise
        if judgement.outcome == "infrastructure":
            self._forget(key)
        elif judgement.outcome != "timeout":
            self._append(_Line(key=key, judgement=judgement))
        future.set_result(judgement)
        return judgement, False

    def _forget(self, key: str) -> None:
        with self._lock:
            del self._judgements[key]

    def _append(self, line: _Line) -> None:
        with self._lock:
            if self._file is not None:
                self._file.write(line.model_dump_json() + "\n")
                self._file.flush()

    def _restore(self, path: Path) -> None:
        for text in path.read_bytes().splitlines():
            try:
                line = _Line.model_validate_json(text)
            except ValidationError:
                continue  # of another version: that program is run again
            future: Future[Judgement] = Future()
            future.set_result(line.judgement)
            self._judgements[line.key] = future
