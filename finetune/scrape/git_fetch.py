"""Fetch one commit of a git repository, and read its files from git's objects.

There is no checkout, because a checkout runs what the repository and the user's settings ask for: filters
such as LFS, hooks, submodules. The sizes of all files are known before the first is written.
"""

import os
import subprocess
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, cast

from acepilot.errors import DownloadFailed
from finetune.scrape.git_url import PROTOCOLS, Credentials
from finetune.scrape.source_files import MAX_FILE_BYTES, SourceFiles, check_sums
from finetune.scrape.tools import complaint, run_tool, started, time_limit

_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.bigFileThreshold": "16m",  # larger objects are streamed and not held in memory
    "fetch.unpackLimit": "1",  # objects stay in their pack: unpacked they would take far more
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
_USERS_OWN = ("GIT_CONFIG", "GIT_EXEC_PATH", "GIT_HTTP_", "GIT_PROXY_", "GIT_SSH", "GIT_SSL_")
"""The beginnings of git's variables that say how the user reaches a server. All others are left out: a hook
or a user sets them for another repository, or to see what git sends."""
_MAX_ENTRY_BYTES = 4_096  # of a tree's listing; no checkout has a longer path, because Linux allows none
_FILE_MODES = (b"100644", b"100755")  # not a symbolic link or a submodule
# git asks it for the credentials of one site only, so a redirect elsewhere does not get them. A program's
# environment is private to its user, and its command line is not.
_HELPER = (
    "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' "
    '"$ACEPILOT_GIT_USER" "$ACEPILOT_GIT_PASSWORD"; }; f'
)


def fetch_git(url: str, ref: str, credentials: Credentials | None, files: SourceFiles) -> str:
    """Fetch `ref`, keep its files, and return its commit.

    Raises DownloadFailed, or OSError for a full disk.
    """
    environment = _environment(credentials)
    try:
        return _fetch(url, ref, environment, "sha1", files)
    except DownloadFailed as error:
        # "mismatched algorithms: client sha1; server sha256", in the user's language
        if "sha1" not in error.message or "sha256" not in error.message:
            raise
    return _fetch(url, ref, environment, "sha256", files)


def _fetch(url: str, ref: str, environment: Mapping[str, str], object_format: str, files: SourceFiles) -> str:
    with TemporaryDirectory(dir=files.target.parent) as name:
        repository = Path(name)
        git = ["git", "--git-dir", name]
        init = ["init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", "--", name]
        run_tool(["git", *init], repository, environment)
        fetch = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--"]
        run_tool([*git, *fetch, url, ref], repository, environment)
        verify = ["rev-parse", "--verify", "FETCH_HEAD^{commit}"]
        commit = run_tool([*git, *verify], repository, environment).strip()
        _keep(git, commit, environment, files)
    return commit


def _environment(credentials: Credentials | None) -> dict[str, str]:
    """Return the environment for git: the user's, with our settings last, so that they win."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith(_USERS_OWN)
    }
    environment |= {
        # Nothing that runs a program: `ext::`, other remote helpers.
        "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "GIT_NO_LAZY_FETCH": "1",
    }
    lines = list(_SETTINGS.items())
    if credentials is not None and credentials.password is None:
        lines.append((f"credential.{credentials.site}.username", credentials.user))
    elif credentials is not None and credentials.password is not None:
        key = f"credential.{credentials.site}.helper"
        lines += [(key, ""), (key, _HELPER)]  # the empty one takes away the helpers before it
        environment["ACEPILOT_GIT_USER"] = credentials.user
        environment["ACEPILOT_GIT_PASSWORD"] = credentials.password
    try:
        count = int(environment.get("GIT_CONFIG_COUNT", "0"))  # settings that the user gives in the same way
    except ValueError:
        count = 0
    for number, (key, value) in enumerate(lines, count):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    environment["GIT_CONFIG_COUNT"] = str(count + len(lines))
    return environment


def _keep(git: list[str], commit: str, environment: Mapping[str, str], files: SourceFiles) -> None:
    listed = list(_listed(git, commit, environment))
    with _reading([*git, "cat-file", "--batch"], environment) as (replies, requests):
        for blob, size, name in listed:
            files.add(os.fsdecode(name), size, lambda blob=blob: _content(blob, replies, requests))


def _listed(
    git: list[str], commit: str, environment: Mapping[str, str]
) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield blob, size and path of each file. Raises DownloadFailed for too many entries or bytes."""
    files = others = size_bytes = names_bytes = 0
    # -t lists folders, too: a small repository may have endless ones without a file.
    with _reading([*git, "ls-tree", "-r", "-t", "-z", "-l", "--full-tree", commit], environment) as (
        output,
        _,
    ):
        for entry in _split(output):
            about, _, name = entry.partition(b"\t")
            mode, _, blob, size = about.split()
            is_file = mode in _FILE_MODES
            files += is_file
            others += not is_file  # folders, links, submodules
            names_bytes += len(name)
            if is_file and int(size) <= MAX_FILE_BYTES:
                size_bytes += int(size)
            check_sums(max(files, others), size_bytes, names_bytes)
            if is_file:
                yield blob, int(size), name


def _split(output: IO[bytes]) -> Iterator[bytes]:
    """Yield the entries of git's output, which end with NUL. Raises DownloadFailed for a very long one."""
    rest = b""
    while chunk := output.read(1 << 16):
        *whole, rest = (rest + chunk).split(b"\0")
        if any(len(entry) > _MAX_ENTRY_BYTES for entry in (*whole, rest)):
            raise DownloadFailed("it has a path of more than 4 kB, which no checkout can have")
        yield from whole


def _content(blob: bytes, replies: IO[bytes], requests: IO[bytes]) -> bytes:
    requests.write(blob + b"\n")
    requests.flush()
    head = replies.readline().split()
    if len(head) != 3:
        raise EOFError("git does not return this file")
    content = replies.read(int(head[2]) + 1)
    if len(content) != int(head[2]) + 1:
        raise EOFError("git ended before the end of this file")
    return content[:-1]


@contextmanager
def _reading(command: list[str], environment: Mapping[str, str]) -> Generator[tuple[IO[bytes], IO[bytes]]]:
    """Run a git command, and yield its output and its input. Raises DownloadFailed when it fails."""
    with TemporaryFile() as errors:
        with (
            started(command, environment, subprocess.PIPE, errors, given=subprocess.PIPE) as process,
            time_limit(process, "git"),
        ):
            output, given = cast("tuple[IO[bytes], IO[bytes]]", (process.stdout, process.stdin))
            yield output, given
            with suppress(BrokenPipeError):  # it has ended already: its exit code says more
                given.close()
            code = process.wait()
        if code:
            raise DownloadFailed(f"git says: {complaint(errors)}")
