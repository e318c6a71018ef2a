"""Start one worker process (worker.py) and send it jobs."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from multiprocessing import Pipe
from pathlib import Path

from eval_humaneval.execution.job import Job, JobResult

_ROOT = Path(__file__).parents[2]
_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from eval_humaneval.execution.worker import main; main()"
)


@dataclass(frozen=True)
class Content:
    """A file that is placed beside programs; a worker receives it once."""

    digest: str
    data: bytes


class WorkerClient:
    """Starts its worker at once. `user` is the user id that the worker takes; None keeps the current one."""

    def __init__(self, user: int | None) -> None:
        self._connection, theirs = Pipe()
        self._sent: set[str] = set()
        with theirs:
            words = [str(_ROOT), str(theirs.fileno()), *([] if user is None else [str(user)])]
            self._process = subprocess.Popen(
                # Isolated and without site-packages, which its user may not be allowed to read.
                [sys.executable, "-I", "-S", "-c", _START, *words],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                # Ctrl-C reaches the evaluation only, which then closes its workers.
                start_new_session=True,
            )

    def run(self, job: Job, contents: Iterable[Content]) -> JobResult:
        """Run `job` with `contents` beside it. Raise EOFError or OSError when the worker has ended."""
        for content in contents:
            if content.digest not in self._sent:
                self._connection.send_bytes(json.dumps({"store": content.digest}).encode())
                self._connection.send_bytes(content.data)
                self._sent.add(content.digest)
        self._connection.send_bytes(json.dumps(asdict(job)).encode())
        return JobResult(**json.loads(self._connection.recv_bytes()))

    def close(self) -> str:
        """End the worker; return the last line of its standard error."""
        self._connection.close()
        with self._process:
            stderr: str = self._process.communicate()[1].decode(errors="replace")
        return stderr.strip().rpartition("\n")[2]
