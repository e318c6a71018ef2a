"""The system calls that a judged program may not make: they reach what no namespace or limit contains.

A namespace hides files, processes and networks. It does not hide the kernel's keyrings, its log, sockets to
the machine's hypervisor, or performance counters. A denied call fails with EPERM.
"""

import errno
from io import FileIO
from os import memfd_create, pread

from acepilot.errors import SandboxUnavailable

DENIED = (
    # Keyrings belong to users and sessions, not to namespaces: a program could read the harness's keys.
    "add_key",
    "keyctl",
    "request_key",
    # io_uring makes sockets and opens files without these calls, and so goes around every rule here.
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    # They show what the kernel and other processes do, and have had many faults.
    "bpf",
    "perf_event_open",
    "syslog",
    "userfaultfd",
    # One count for the whole machine: a program could take it away from databases.
    "io_setup",
    # Memory that belongs to no process, and so counts against no limit of a process.
    "memfd_create",
    "memfd_secret",
    "msgget",
    "semget",
    "shmget",
)
SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of linux/prctl.h. A program that clears it would outlive a worker that was killed."""

FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: the network namespace contains them. Programs need the last one to
list their network interfaces. AF_VSOCK, AF_ALG and others go around the namespace."""


def denying_filter() -> bytes:
    """Return a seccomp filter as a BPF program for this machine's architecture. Raise SandboxUnavailable.

    The calls of other architectures that the kernel supports (32-bit programs) end the program.
    """
    try:
        import pyseccomp  # it looks for libseccomp when it is imported
    except RuntimeError as error:
        raise SandboxUnavailable(f"{error}: `apt-get install libseccomp2`") from error
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    deny = pyseccomp.ERRNO(errno.EPERM)
    for name in DENIED:
        rules.add_rule(deny, name)
    # The kernel reads 32 bits of this argument.
    death_signal = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, 0xFFFFFFFF, SET_PARENT_DEATH_SIGNAL)
    rules.add_rule(deny, "prctl", death_signal)
    for name in ("socket", "socketpair"):
        for family in range(max(FAMILIES)):
            if family not in FAMILIES:
                rules.add_rule(deny, name, pyseccomp.Arg(0, pyseccomp.EQ, family))
        rules.add_rule(deny, name, pyseccomp.Arg(0, pyseccomp.GT, max(FAMILIES)))
    with FileIO(memfd_create("seccomp"), "r+") as file:
        rules.export_bpf(file)
        return pread(file.fileno(), file.tell(), 0)
