"""Judge programs: run each one in the sandbox, and look for the word that it prints only when all tests pass.

    with Sandbox(detect_sandbox()) as sandbox:
        toolchains = find_toolchains({...}, sandbox)
        judgement = Judge(sandbox).judge(program, toolchains.ready[program.language])

`judge` blocks and may be called from several threads; judge_pool.py calls it from an event loop.
"""

import hashlib
import json
import secrets
import shlex
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ValidationError

from eval_humaneval.execution.job import JobResult
from eval_humaneval.execution.sandbox import WALL_FACTOR, Sandbox
from eval_humaneval.languages.base import Toolchain
from eval_humaneval.problems.problem import VERDICT_MARK, Program
from eval_humaneval.results import Outcome, open_for_append

_DETAIL_CHARS = 2000  # of output kept for the report: the end of a traceback fits
_KILLED = 128 + 9  # exit code of a program that got SIGKILL


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


@dataclass
class Spent:
    """The cost of judging so far."""

    programs_run: int = 0
    programs_cached: int = 0
    cpu_s: float = 0.0


class Judge:
    """Judges programs in `sandbox`; equal programs run once. Thread-safe. `spent` grows with each program."""

    def __init__(self, sandbox: Sandbox, cache: JudgementCache | None = None) -> None:
        self._sandbox = sandbox
        self._cache = cache or JudgementCache()
        self._lock = threading.Lock()
        self.spent = Spent()

    def judge(self, program: Program, toolchain: Toolchain) -> Judgement:
        """Judge `program` with a toolchain that find_toolchains returned as ready. Raise ValueError for a
        program without VERDICT_MARK, and OSError when a file of the toolchain is missing."""
        key = self._key(program, toolchain)
        judgement, cached = self._cache.get_or_run(key, lambda: self._run(program, toolchain))
        with self._lock:
            if cached:
                self.spent.programs_cached += 1
            else:
                self.spent.programs_run += 1
                self.spent.cpu_s += judgement.cpu_s
        return judgement

    def _key(self, program: Program, toolchain: Toolchain) -> str:
        parts = (
            self._sandbox.level.name,
            program.language,
            program.source,
            toolchain.source_name,
            toolchain.compile,
            toolchain.run,
            toolchain.verdict,
            asdict(toolchain.limits),
            dict(toolchain.environment),
            {name: self._sandbox.content(path).digest for name, path in toolchain.files.items()},
        )
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _run(self, program: Program, toolchain: Toolchain) -> Judgement:
        halves = secrets.token_hex(8), secrets.token_hex(8)
        ran = self._sandbox.run(
            _command(toolchain),
            toolchain.limits,
            {**toolchain.files, toolchain.source_name: _with_verdict(program.source, toolchain, halves)},
            toolchain.environment,
            reports_compiled=bool(toolchain.compile),
            toolchain_etc=bool(toolchain.compile) or _is_alternative(toolchain.run[0]),
        )
        outcome, detail = _read(ran, "".join(halves), toolchain)
        return Judgement(outcome, detail, ran.cpu_s, ran.wall_s)


def _with_verdict(source: str, toolchain: Toolchain, halves: tuple[str, str]) -> str:
    """Replace the last mark by the verdict statement. A model may write an earlier mark to get the word."""
    before, mark, after = source.rpartition(VERDICT_MARK)
    if not mark:
        raise ValueError(f"a program without {VERDICT_MARK} cannot pass")
    return before + toolchain.verdict.format(*halves) + after


def _command(toolchain: Toolchain) -> tuple[str, ...]:
    """Return one shell command that compiles and runs. The shell reports a successful compilation by writing
    to its standard input. Compiler and program get another one, so that neither can report it."""
    if not toolchain.compile:
        return toolchain.run
    compiling, running = shlex.join(toolchain.compile), shlex.join(toolchain.run)
    script = f"{compiling} </dev/null >&2 || exit $?; echo >&0; exec {running} </dev/null"
    return ("/bin/sh", "-c", script)


def _read(ran: JobResult, word: str, toolchain: Toolchain) -> tuple[Outcome, str]:
    limits = toolchain.limits
    if ran.error:
        return "infrastructure", f"{ran.error}. {ran.stderr.strip()[-_DETAIL_CHARS:]}".strip()
    if ran.stopped == "output":
        return "failed", f"more than {limits.output_bytes} bytes of output"
    if not ran.stopped and ran.exit_code == 0 and ran.stdout.rstrip().endswith(word):
        return "passed", ""
    if ran.stopped == "wall":
        return "timeout", f"more than {limits.cpu_s * WALL_FACTOR} s"
    # The kernel enforces CPU limits by a coarser clock than it reports: 0.88 s for a limit of one second. A
    # program that was killed with hardly any CPU time ran out of the machine's memory instead.
    if ran.cpu_s >= limits.cpu_s * (0.5 if ran.exit_code == _KILLED else 0.9):
        return "timeout", f"more than {limits.cpu_s} s of CPU time"
    output = (ran.stdout + ran.stderr).strip()[-_DETAIL_CHARS:]
    if toolchain.compile and not ran.compiled:
        return "compile_error", output
    return "failed", output or f"exit status {ran.exit_code}, and no verdict"


@cache
def _is_alternative(tool: str) -> bool:
    """Return True when `tool` is a link into /etc, as Debian's alternatives are."""
    return Path(tool).is_symlink() and Path(tool).readlink().is_relative_to("/etc")
