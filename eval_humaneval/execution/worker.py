"""The worker process: runs programs one after the other, and sends each result back.

A process that holds a model should not fork: copying its page tables takes 45 ms per gigabyte. Hence
separate workers. A worker gives up root at once. As the same user as its programs, it sets their limits from
outside; a `prlimit` program between them would take 0.7 ms. Results are JSON, because unpickling data from
the side of untrusted programs would let them run code in the evaluation's process.
"""

import json
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from ctypes import CDLL
from dataclasses import asdict
from io import FileIO
from multiprocessing.connection import Connection
from pathlib import Path

from eval_humaneval.execution import bubblewrap, limits_only
from eval_humaneval.execution.job import (
    CHUNK_BYTES,
    Job,
    JobResult,
    RunningProgram,
    Streams,
    memory_file,
    open_pipe,
    read_now,
)

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


def run(job: Job, stored: Mapping[str, int], connection: int) -> JobResult:
    """Run `job`; return when all its processes have ended. `stored` holds file descriptors of contents by
    digest. The file descriptor `connection` becomes readable when the evaluation has gone."""
    began, cpu_before = time.monotonic(), _cpu_of_children()
    with ExitStack() as stack:
        (report, report_end), (stdout, stdout_end), (stderr, stderr_end) = (
            open_pipe(stack) for _ in range(3)
        )
        stdin = report_end.fileno() if job.reports_compiled else subprocess.DEVNULL
        streams = Streams(stdin, stdout_end.fileno(), stderr_end.fileno())
        try:
            program = (bubblewrap if job.wrapper else limits_only).start(job, stored, streams, stack)
        except OSError as failure:
            return JobResult(-1, "", "", False, "", 0.0, time.monotonic() - began, str(failure))
        outputs = {stdout.fileno(): bytearray(), stderr.fileno(): bytearray()}
        stopped = _watch(program, job, outputs, connection)
        error = program.close()
        code = program.process.wait()
        return JobResult(
            exit_code=code if code >= 0 else 128 - code,
            stdout=outputs[stdout.fileno()].decode(errors="replace"),
            stderr=outputs[stderr.fileno()].decode(errors="replace"),
            compiled=bool(read_now(report.fileno())),
            stopped=stopped,
            cpu_s=_cpu_of_children() - cpu_before,
            wall_s=time.monotonic() - began,
            error=error,
        )


def _watch(program: RunningProgram, job: Job, outputs: Mapping[int, bytearray], connection: int) -> str:
    """Read into `outputs` until the program ends or exceeds a limit; return the limit, or ""."""
    process = program.process
    deadline, stopped = time.monotonic() + job.wall_s, ""
    poll = select.poll()
    with FileIO(os.pidfd_open(process.pid)) as ended:
        for descriptor in (*outputs, ended.fileno(), connection):
            poll.register(descriptor, select.POLLIN)
        while not stopped:
            left_ms = max(0.0, deadline - time.monotonic()) * 1000
            ready = {descriptor for descriptor, _ in poll.poll(left_ms)}
            for descriptor in outputs.keys() & ready:
                outputs[descriptor].extend(os.read(descriptor, CHUNK_BYTES))
            if ended.fileno() in ready:
                break
            if _too_much_output(outputs, job):
                stopped = "output"
            elif connection in ready or time.monotonic() > deadline:
                stopped = "wall"
    program.kill()
    process.wait()
    for descriptor, output in outputs.items():
        output.extend(read_now(descriptor))
    return "output" if _too_much_output(outputs, job) else stopped


def _too_much_output(outputs: Mapping[int, bytearray], job: Job) -> bool:
    return sum(map(len, outputs.values())) > job.output_bytes


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def serve(connection: Connection) -> None:
    """Run each job and store each content that arrives, until the other side closes the connection."""
    stored: dict[str, FileIO] = {}
    with suppress(EOFError, ConnectionError):
        while True:
            message = json.loads(connection.recv_bytes())
            if "store" in message:
                stored[message["store"]] = memory_file(connection.recv_bytes())
                continue
            descriptors = {digest: file.fileno() for digest, file in stored.items()}
            result = run(Job(**message), descriptors, connection.fileno())
            connection.send_bytes(json.dumps(asdict(result)).encode())


def main() -> None:
    """Serve. The first argument is the connection's file descriptor, the optional second one a user id."""
    connection = Connection(int(sys.argv[1]))
    # When memory runs out, the kernel should kill a program, and no other process of the machine.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    for user in map(int, sys.argv[2:]):
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    os.chdir("/")
    serve(connection)
