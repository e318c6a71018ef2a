"""Runs one program after the other: judge -> sandbox -> this process -> bubblewrap -> the program.

It is a process of its own so that the one that holds a model never forks: that copies page tables, 45 ms a
gigabyte. It gives root up at once, and being the same user as its programs it may set their limits from
outside, where a `prlimit` in between would cost 0.7 ms a program. It answers in JSON: what comes from this
side is not to be trusted as a pickle is.
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
    Ran,
    Started,
    Streams,
    memory_file,
    open_pipe,
    read_now,
)

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


def run(job: Job, kept: Mapping[str, int], connection: int) -> Ran:
    """Returns when every process of the job is gone. `kept`: memory files by digest. `connection`: a file
    descriptor that becomes readable when nobody waits for the answer any more."""
    began, cpu_before = time.monotonic(), _cpu_of_children()
    with ExitStack() as stack:
        (told, tell), (stdout, stdout_end), (stderr, stderr_end) = (open_pipe(stack) for _ in range(3))
        stdin = tell.fileno() if job.tells_compiled else subprocess.DEVNULL
        streams = Streams(stdin, stdout_end.fileno(), stderr_end.fileno())
        try:
            program = (bubblewrap if job.wrapper else limits_only).start(job, kept, streams, stack)
        except OSError as failure:
            return Ran(-1, "", "", False, "", 0.0, time.monotonic() - began, str(failure))
        outputs = {stdout.fileno(): bytearray(), stderr.fileno(): bytearray()}
        stopped = _watch(program, job, outputs, connection)
        error = program.close()
        code = program.process.wait()
        return Ran(
            exit_code=code if code >= 0 else 128 - code,
            stdout=outputs[stdout.fileno()].decode(errors="replace"),
            stderr=outputs[stderr.fileno()].decode(errors="replace"),
            compiled=bool(read_now(told.fileno())),
            stopped=stopped,
            cpu_s=_cpu_of_children() - cpu_before,
            wall_s=time.monotonic() - began,
            error=error,
        )


def _watch(program: Started, job: Job, outputs: Mapping[int, bytearray], connection: int) -> str:
    """Reads into `outputs` until the program has ended or must be ended; tells the limit that was met."""
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
            if _flooded(outputs, job):
                stopped = "output"
            elif connection in ready or time.monotonic() > deadline:
                stopped = "wall"
    program.kill()
    process.wait()
    for descriptor, output in outputs.items():
        output.extend(read_now(descriptor))
    return "output" if _flooded(outputs, job) else stopped


def _flooded(outputs: Mapping[int, bytearray], job: Job) -> bool:
    return sum(map(len, outputs.values())) > job.output_bytes


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def serve(connection: Connection) -> None:
    """Until the other side closes it: runs each job, and keeps each content that is sent."""
    kept: dict[str, FileIO] = {}
    with suppress(EOFError, ConnectionError):
        while True:
            message = json.loads(connection.recv_bytes())
            if "keep" in message:
                kept[message["keep"]] = memory_file(connection.recv_bytes())
                continue
            descriptors = {digest: file.fileno() for digest, file in kept.items()}
            ran = run(Job(**message), descriptors, connection.fileno())
            connection.send_bytes(json.dumps(asdict(ran)).encode())


def main() -> None:
    """The first argument is the connection's file descriptor, the second the user to become, if any."""
    connection = Connection(int(sys.argv[1]))
    # When memory runs out, the kernel ends a program before anything else of the machine.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    for user in map(int, sys.argv[2:]):
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    os.chdir("/")
    serve(connection)
