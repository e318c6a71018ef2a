"""Attacks on what namespaces do not contain: keyrings, socket families, who is ended when memory runs out.

Each program asserts that it succeeds. It passes where nothing holds it back.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator

import pytest

from eval_humaneval.execution.sandbox import Sandbox
from eval_humaneval.languages.base import Limits
from tests.eval_humaneval.programs import need_sandbox

SECRET = "a-key-of-the-harness"
JOIN_SESSION_KEYRING, READ, SESSION_KEYRING = 1, 11, -3  # of linux/keyctl.h
CALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    result = libc.syscall(*arguments)
    assert result != -1, os.strerror(ctypes.get_errno())
    return result
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(need_sandbox(), workers=1) as sandbox:
        yield sandbox


def number(name: str) -> int:
    """The number of a system call on this machine."""
    import pyseccomp  # a machine without libseccomp has no sandbox either, and the tests are skipped

    return pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)


def output(sandbox: Sandbox, program: str) -> str:
    """What a program prints; empty if it fails."""
    ran = sandbox.run(("/usr/bin/python3", "-I", "-S", "main.py"), Limits(cpu_s=5), {"main.py": program}, {})
    assert not ran.error
    return ran.stdout if ran.exit_code == 0 else ""


def in_a_keyring_with_the_secret(run: Callable[[int], None]) -> None:
    """Call `run` with the secret's key, in a thread with a session keyring of its own, as at a login."""
    libc = ctypes.CDLL(None, use_errno=True)
    failed: list[BaseException] = []

    def thread() -> None:
        assert libc.syscall(number("keyctl"), JOIN_SESSION_KEYRING, None) > 0
        payload = SECRET.encode()
        key = libc.syscall(number("add_key"), b"user", b"harness", payload, len(payload), SESSION_KEYRING)
        assert key > 0
        try:
            run(key)
        except BaseException as error:
            failed.append(error)

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    if failed:
        raise failed[0]


def test_the_harness_keyring_cannot_be_read(sandbox: Sandbox) -> None:
    def run(key: int) -> None:
        program = (
            f"{CALL}\nbuffer = ctypes.create_string_buffer(64)\n"
            f"call({number('keyctl')}, {READ}, {key}, buffer, 64)\nprint(buffer.value.decode())"
        )
        assert output(sandbox, program) == ""
        assert output(sandbox, "print('keys: ' + open('/proc/keys').read())") == ""

    in_a_keyring_with_the_secret(run)


def test_one_program_cannot_leave_a_key_for_the_next(sandbox: Sandbox) -> None:
    """In the keyring of its user (-4), which lives on after it."""
    leave = f"{CALL}\nprint(call({number('add_key')}, b'user', b'message', b'hello', 5, -4))"
    assert output(sandbox, leave) == ""


@pytest.mark.parametrize("family", ["AF_VSOCK", "AF_ALG", "AF_PACKET", "AF_BLUETOOTH", "AF_TIPC", "AF_CAN"])
def test_sockets_outside_the_network_namespace(sandbox: Sandbox, family: str) -> None:
    attempt = f"import socket\ntry:\n    socket.socket(socket.{family}, socket.SOCK_STREAM)\n"
    refused = "except PermissionError:\n    print('refused')\nexcept OSError as error:\n    print(error)"
    if family in ("AF_ALG", "AF_CAN"):  # their sockets have other types
        attempt = attempt.replace("SOCK_STREAM", "SOCK_SEQPACKET" if family == "AF_ALG" else "SOCK_RAW")
    assert output(sandbox, attempt + refused) == "refused\n"


def test_a_family_in_the_upper_half_of_the_register(sandbox: Sandbox) -> None:
    """The kernel reads 32 bits of the family; a filter that reads 64 must not miss AF_VSOCK there."""
    family = (1 << 32) | 40
    program = f"{CALL}\nprint(call({number('socket')}, ctypes.c_ulong({family}), 1, 0))"
    assert output(sandbox, program) == ""


def test_io_uring_cannot_go_around_the_filter(sandbox: Sandbox) -> None:
    program = f"{CALL}\nprint(call({number('io_uring_setup')}, 8, ctypes.create_string_buffer(256)))"
    assert output(sandbox, program) == ""


@pytest.mark.parametrize("call", ["bpf", "perf_event_open", "syslog", "userfaultfd"])
def test_calls_that_look_at_the_whole_machine(sandbox: Sandbox, call: str) -> None:
    program = f"{CALL}\nlibc.syscall({number(call)}, 10, None, 0, 0, 0)\nprint(ctypes.get_errno())"
    assert output(sandbox, program) == "1\n"  # EPERM, and no other error of these wrong arguments


@pytest.mark.parametrize("call", ["memfd_create", "memfd_secret", "msgget", "semget", "shmget"])
def test_memory_that_no_limit_of_a_process_counts(sandbox: Sandbox, call: str) -> None:
    program = f"{CALL}\nlibc.syscall({number(call)}, None, 1 << 20, 0o1600)\nprint(ctypes.get_errno())"
    assert output(sandbox, program) == "1\n"


def test_requests_that_are_counted_for_the_whole_machine(sandbox: Sandbox) -> None:
    """Asynchronous input and output: 65,536 for all of the machine's processes together."""
    program = f"{CALL}\ncall({number('io_setup')}, 1000, ctypes.byref(ctypes.c_ulong(0)))\nprint('taken')"
    assert output(sandbox, program) == ""


@pytest.mark.parametrize("option", [1, (1 << 32) | 1])
def test_a_program_cannot_outlive_a_killed_worker(sandbox: Sandbox, option: int) -> None:
    """By taking back the signal that it gets when bubblewrap ends."""
    program = f"{CALL}\ncall({number('prctl')}, ctypes.c_ulong({option}), 0, 0, 0, 0)\nprint('taken back')"
    assert output(sandbox, program) == ""


def test_a_crash_starts_no_helper_outside(sandbox: Sandbox) -> None:
    """The kernel starts the machine's core dump helper unless the limit is one byte: core(5)."""
    program = "import resource\nprint(resource.getrlimit(resource.RLIMIT_CORE))"
    assert output(sandbox, program) in ("(1, 1)\n", "(0, 0)\n")  # 0 where the machine allows no more


def test_a_program_stays_first_to_be_ended_when_memory_runs_out(sandbox: Sandbox) -> None:
    """Also its children, and under the older name of the same setting."""
    read = "import os\nprint(open('/proc/self/oom_score_adj').read().strip())\n"
    for name, value in (("oom_score_adj", 0), ("oom_adj", -1)):
        write = f"pid = os.fork() and os.wait()\ntry:\n    open('/proc/self/{name}', 'w').write('{value}')\n"
        after = "except OSError:\n    pass\nprint(open('/proc/self/oom_score_adj').read().strip())"
        assert set(output(sandbox, read + write + after).split()) == {"1000"}


def test_calls_of_other_architectures(sandbox: Sandbox) -> None:
    """On x86-64 the numbers from 2^30 on are the same calls again."""
    if os.uname().machine != "x86_64":
        pytest.skip("only x86-64 has a second numbering")
    program = f"{CALL}\nprint(call({(1 << 30) | number('keyctl')}, {JOIN_SESSION_KEYRING}, None))"
    assert output(sandbox, program) == ""


def test_ordinary_sockets_still_work(sandbox: Sandbox) -> None:
    program = (
        "import socket\n"
        "for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):\n"
        "    kind = socket.SOCK_RAW if family == socket.AF_NETLINK else socket.SOCK_STREAM\n"
        "    socket.socket(family, kind).close()\n"
        "socket.socketpair()\nprint('all')"
    )
    assert output(sandbox, program) == "all\n"
