"""Run the story's steps, one after the other: `python -m story` -> steps.py, the list -> this file.

    STORY/state/<step>.json   the inputs of a step, its outputs and its time
    STORY/logs/<step>.log     the commands of a step with their output

A step is skipped while its fingerprint and outputs are unchanged. A step that was killed continues from its
files, since every program behind it can resume. A step whose inputs have changed starts from scratch.
"""

import inspect
import os
import platform
import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict

from acepilot.corpus import canonical_hash
from acepilot.errors import AcepilotError
from acepilot.models.manifest import sha256_of, write_atomically
from acepilot.models.provenance import git_commit
from story.programs import ROOT, run_program, serving

VERSIONS_OF = (
    *("acepilot", "torch", "transformers", "deepspeed", "peft"),
    *("openvino-genai", "datatrove", "tree-sitter-language-pack", "numpy"),
)
"""Packages whose version can change the result of a step."""


class StepFailed(AcepilotError):
    """A step failed. The results of the steps before it are kept."""

    code = "step_failed"


@dataclass(frozen=True)
class Command:
    """A program, started in the repository's root as a person would start it.

    `accepted` are the exit codes that are no failure. `{port}` is replaced by a free port. With `own_home`
    the program gets the user's ACEPILOT_HOME instead of the story's.
    """

    words: tuple[str, ...]
    accepted: tuple[int, ...] = (0,)
    own_home: bool = False


@dataclass(frozen=True)
class Call:
    """A function of this package with its arguments, for work that no program of the product does."""

    function: Callable[..., None]
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Step:
    """One step of the story.

    `inputs` and `outputs` are files whose content is hashed; for a corpus or a model that is the manifest,
    which holds the hashes of the other files. `makes` is removed before the step starts from scratch, and
    before every start if its programs cannot resume (`goes_on`). `spare` is removed when the step is done.
    While the work runs, `python -m server --model SERVED` runs too, and `{url}` is replaced by its address.
    `guess_s` is the expected time in seconds.
    """

    name: str
    title: str
    work: tuple[Command | Call, ...]
    inputs: tuple[Path, ...] = ()
    outputs: tuple[Path, ...] = ()
    makes: tuple[Path, ...] = ()
    spare: tuple[Path, ...] = ()
    goes_on: bool = True
    served: str | None = None
    guess_s: float = 10.0


class Record(BaseModel):
    """The state of a step on disk. `seconds` is the time of all its starts since it began from scratch."""

    model_config = ConfigDict(extra="forbid")

    fingerprint: str
    began: datetime
    git_commit: str | None
    seconds: float = 0.0
    outputs: dict[str, str] = {}
    exit_codes: list[int] = []
    done: bool = False


class Story:
    """The folder of one replay. Every step reads and writes below it.

    It has an ACEPILOT_HOME with a registry of its own, so that the user's `current` model does not change.
    `user_home` is the user's ACEPILOT_HOME, from which fetched models are taken.
    """

    def __init__(self, folder: Path, user_home: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._user_home = user_home

    @contextmanager
    def held(self) -> Generator[None]:
        """Lock the folder. Raises StepFailed when another replay holds it.

        The programs that are started inherit the lock: if this process is killed, the folder stays locked
        until they end.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            try:
                flock(lock, LOCK_EX | LOCK_NB)
            except BlockingIOError as error:
                raise StepFailed(
                    f"Another replay works on {self.folder}, or programs of a killed one still run: "
                    "wait for them or end them, or choose another --folder."
                ) from error
            os.set_inheritable(lock.fileno(), True)
            yield

    def record(self, step: Step) -> Record | None:
        path = self._record_path(step)
        return Record.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None

    def is_done(self, step: Step) -> bool:
        found = self.record(step)
        if found is None or not found.done or any(not path.is_file() for path in step.inputs):
            return False
        return found.fingerprint == self.fingerprint(step) and found.outputs == self._hashes(step.outputs)

    def fingerprint(self, step: Step) -> str:
        """Hash the commands, functions, contents of inputs and versions; paths are relative to the story."""
        return canonical_hash(
            {
                "work": [self._identity(one) for one in step.work],
                "served": step.served,
                "inputs": self._hashes(step.inputs),
                "versions": _versions(),
            }
        )

    def plain(self, word: object) -> str:
        """Return `word` without the folders that differ between machines."""
        return str(word).replace(str(self.folder), "STORY").replace(f"{ROOT}/", "")

    def run(self, step: Step, on_line: Callable[[str], None]) -> float:
        """Run one step, while `held`, and return its seconds; `on_line` gets its log's last line.

        Raises StepFailed.
        """
        missing = [self.plain(path) for path in step.inputs if not path.is_file()]
        if missing:
            raise StepFailed(f"{step.name} needs {', '.join(missing)}: an earlier step should have made it.")
        fingerprint, record = self.fingerprint(step), self.record(step)
        anew = record is None or record.done or record.fingerprint != fingerprint
        if anew or not step.goes_on:
            for path in step.makes:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        if record is None or anew:
            record = Record(fingerprint=fingerprint, began=datetime.now(UTC), git_commit=git_commit())
            self._log_path(step).unlink(missing_ok=True)
        self._keep(step, record)
        began = time.monotonic()
        try:
            record.exit_codes = self._work(step, on_line)
        finally:
            record.seconds += time.monotonic() - began
            self._keep(step, record)
        record.outputs = self._hashes(step.outputs)
        absent = [path for path in step.outputs if str(self.plain(path)) not in record.outputs]
        if absent:
            raise StepFailed(f"{step.name} ended without {absent[0]}: read {self._log_path(step)}.")
        record.done = True
        self._keep(step, record)
        for path in step.spare:
            shutil.rmtree(path, ignore_errors=True)
        return record.seconds

    def _work(self, step: Step, on_line: Callable[[str], None]) -> list[int]:
        log = self._log_path(step)
        log.parent.mkdir(parents=True, exist_ok=True)
        server = serving(step.served, log.with_suffix(".server.log")) if step.served else nullcontext("")
        with log.open("ab") as file, server as url:
            return [self._one(one, file, step, on_line, url) for one in step.work]

    def _one(
        self, one: Command | Call, file: IO[bytes], step: Step, on_line: Callable[[str], None], url: str
    ) -> int:
        if isinstance(one, Call):
            file.write(f"# {self.described(one)}\n".encode())
            file.flush()
            one.function(**one.arguments)
            return 0
        file.write(f"$ {self.described(one)}\n".encode())
        file.flush()
        environment = dict(os.environ)  # story/__main__.py has set the story's ACEPILOT_HOME
        if one.own_home:
            environment["ACEPILOT_HOME"] = str(self._user_home)
        words = [word.replace("{url}", url) for word in one.words]
        code = run_program(words, environment, file, self._log_path(step), on_line)
        if code not in one.accepted:
            raise StepFailed(
                f"{step.name}: `{self.described(one)}` ended with {code}. Its output is in "
                f"{self._log_path(step)}. The same command continues from here. If an earlier step is at "
                f"fault, remove its file in {self._record_path(step).parent}: the step then runs again."
            )
        return code

    def described(self, one: Command | Call) -> str:
        """Return the command to type, or the name of the function."""
        if isinstance(one, Command):
            return " ".join(self.plain(word) for word in one.words)
        return f"{one.function.__module__}.{one.function.__name__}()"

    def _identity(self, one: Command | Call) -> list[str]:
        if isinstance(one, Command):
            return [self.plain(word) for word in one.words]
        arguments = [f"{name}={self.plain(value)}" for name, value in one.arguments.items()]
        source = inspect.getsourcefile(one.function)
        return [self.described(one), *arguments, sha256_of(Path(source)) if source else ""]

    def _hashes(self, paths: Sequence[Path]) -> dict[str, str]:
        return {self.plain(path): sha256_of(path) for path in paths if path.is_file()}

    def _keep(self, step: Step, record: Record) -> None:
        path = self._record_path(step)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, record.model_dump_json(indent=2) + "\n")

    def _record_path(self, step: Step) -> Path:
        return self.folder / "state" / f"{_flat(step.name)}.json"

    def _log_path(self, step: Step) -> Path:
        return self.folder / "logs" / f"{_flat(step.name)}.log"


def _flat(name: str) -> str:
    return name.replace("/", "-")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in VERSIONS_OF:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a machine that replays a part of the steps lacks some packages
            found[package] = "none"
    return found
