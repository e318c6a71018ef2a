"""Start the product's programs for pipeline.py, each in a session of its own, and end them."""

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
    """A short program that the story needs ended with an error."""

    code = "program_failed"


def run_program(
    words: Sequence[str],
    environment: Mapping[str, str],
    output: IO[bytes],
    log: Path,
    on_line: Callable[[str], None],
) -> int:
    """Run a program, return its exit code. `output` is the open file `log`; `on_line` gets its last line."""
    words = [word.replace("{port}", str(free_port())) for word in words]
    process = subprocess.Popen(
        words, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output,
        stderr=subprocess.STDOUT, start_new_session=True, close_fds=False,  # it inherits the lock of `held`
    )  # fmt: skip
    try:
        while process.poll() is None:
            time.sleep(LOOK_EVERY_S)
            on_line(last_line(log))
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
    """Run `python -m server --model MODEL` on a free port, and yield its URL when it is ready.

    Raises PeerFailed.

    It inherits this process's environment, with the story's ACEPILOT_HOME.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [PYTHON, "-m", "server", "--model", model, "--port", str(port), "--host", "127.0.0.1"]
    with running(command, log=log, ready=lambda: answers(f"{url}/ready")):
        yield url


def run_quietly(words: Sequence[str]) -> tuple[int, str]:
    """Run a short program; return its exit code and its whole output."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, (done.stderr + done.stdout).strip()


def must_run(words: Sequence[str]) -> None:
    """Run a short program. Raises ProgramFailed, with its output, when its exit code is not 0."""
    code, output = run_quietly(words)
    if code:
        raise ProgramFailed(f"`{' '.join(words[1:])}` ended with {code}: {output}")
