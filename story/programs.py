"""Starts the product's programs for pipeline.py: in sessions of their own, which end with them."""

import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from acepilot.errors import AcepilotError
from bench.peers.processes import answers, end_group, free_port, running

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PYTHON = sys.executable
TAIL_BYTES = 2_000
LOOK_EVERY_S = 0.2


class ProgramFailed(AcepilotError):
    """A short program that the story cannot do without did not end well."""

    code = "program_failed"


def run_program(
    words: Sequence[str],
    environment: Mapping[str, str],
    output: IO[bytes],
    log: Path,
    said: Callable[[str], None],
) -> int:
    """Its exit code. `output` is `log`, open; `said` hears the last line in it."""
    words = [word.replace("{port}", str(free_port())) for word in words]
    process = subprocess.Popen(
        words, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output,
        stderr=subprocess.STDOUT, start_new_session=True, close_fds=False,  # it keeps what `held` has locked
    )  # fmt: skip
    try:
        while process.poll() is None:
            time.sleep(LOOK_EVERY_S)
            said(last_line(log))
        return process.returncode
    finally:
        end_group(process)


def last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


@contextmanager
def serving(model: str, log: Path) -> Generator[str]:
    """`python -m server --model MODEL` on a free port; yields its URL once it can serve. Raises PeerFailed.

    It has this process's environment: replay_story.py has put the story's home there.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [PYTHON, "-m", "server", "--model", model, "--port", str(port), "--host", "127.0.0.1"]
    with running(command, log=log, ready=lambda: answers(f"{url}/ready")):
        yield url


def run_quietly(words: Sequence[str]) -> tuple[int, str]:
    """The exit code of a short program, and all that it said, without line breaks at a terminal's width."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, (done.stderr + done.stdout).strip()


def must_run(words: Sequence[str]) -> None:
    """A short program that has to end well. Raises ProgramFailed with what it said."""
    code, said = run_quietly(words)
    if code:
        raise ProgramFailed(f"`{' '.join(words[1:])}` ended with {code}: {said}")
