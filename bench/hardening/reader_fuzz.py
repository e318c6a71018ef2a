"""Fuzz the readers of files that come from anybody: `make fuzz`.

    python -m bench reader-fuzz                                  some minutes
    python -m bench reader-fuzz wheel gguf --examples 20000 --seed 7

Valid packages, repositories, records, weights and reports are damaged at random: bytes, counts, nesting.
Each reader must give a result or an error that its caller handles, within TIME_LIMIT_S and MEMORY_BYTES. Each
runs in a process of its own. Exit code 1 if anything failed; the inputs are kept then.
"""

import argparse
import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from acepilot.cli import program, text_console
from acepilot.errors import ConfigError
from bench.hardening.reader_targets import TARGETS, handled

TIME_LIMIT_S = 30  # for one input; an honest one takes milliseconds, and a busy machine ten times that
MEMORY_BYTES = 1_500_000_000  # beyond what the process has when it has read the valid inputs
_LAST = "last-input"
_WORDS = (
    b"", b"\0", b"\xff", b"\xff" * 4, b"\xff" * 8, b"\0" * 8, b"\x7f", b"\0\0\0\0\0\0\0\x10", b"\0\0\0\x40",
    b"[" * 100_000, b"(" * 5_000, b"{\"a\":" * 20_000, b"<!--" * 300, b"9" * 5_000, b"1e999", b"NaN", b"null",
    b"[]", b"{}", b"-1", b"\\ud800", b"\"", b"\n", b"\xed\xa0\x80", b"../", b"/", b".git/", b"--", b"@",
    b"::", b"\x1b]0;", b"No space left", b"<script ", b"-----BEGIN", b"\r\n",
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Draw one of `seeds` with one to six edits."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from((0, 1, 2, 4, 8, 32, len(data))))
        match draw(st.sampled_from(("replace", "random", "delete", "repeat", "move"))):
            case "replace":
                word = draw(st.sampled_from(_WORDS))
                data = data[:start] + word + data[start + draw(st.sampled_from((0, len(word)))) :]
            case "random":
                word = draw(st.binary(min_size=1, max_size=8))
                data = data[:start] + word + data[start + len(word) :]
            case "delete":
                data = data[:start] + data[start + length :]
            case "repeat":
                data = data[:start] + data[start : start + length] * draw(st.sampled_from((2, 9, 200)))
            case _:
                to = draw(st.integers(0, len(data)))
                data = data[:to] + data[start : start + length] + data[to:]
        data = data[:2_000_000]
    return data


def fuzz_one(name: str, examples: int, number: int, folder: Path) -> list[str]:
    """Fuzz one reader in this process; return a sentence for each kind of failure."""
    target = TARGETS[name]
    seeds = list(target.seeds())
    failures: dict[str, str] = {}

    def read(data: bytes) -> None:
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        (folder / _LAST).write_bytes(data)
        signal.alarm(TIME_LIMIT_S)  # without a handler, it ends the process: also inside a library's loop
        try:
            target.read(data, work)
        except handled(target):
            pass
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
            kept = folder / f"{name}-{sha256(data).hexdigest()[:8]}"
            if kind not in failures:
                kept.write_bytes(data)
                failures[kind] = f"{name}: {kind}: {str(error)[:200]!r} ({kept})"
        finally:
            signal.alarm(0)

    for valid in seeds:
        target.read(valid, Path(tempfile.mkdtemp(dir=folder)))  # raises: a seed must be valid
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
    checks = settings(
        max_examples=max(1, round(examples * target.examples_share)),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )
    test: Callable[[], Any] = seed(number)(checks(given(damaged(seeds))(read)))
    test()
    return list(failures.values())


def fuzz(name: str, examples: int, number: int, folder: Path) -> list[str]:
    """Fuzz one reader in a child process; return a sentence for each kind of failure."""
    folder.mkdir()
    call = f"from bench.hardening.reader_fuzz import child; child{(name, examples, number, str(folder))!r}"
    with (folder / "log").open("w+b") as log:
        done = subprocess.run([sys.executable, "-c", call], stdout=subprocess.PIPE, stderr=log, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1])
        log.seek(0)
        last = (log.read().decode(errors="replace").strip().splitlines() or ["no message"])[-1]
    why = (
        f"took more than {TIME_LIMIT_S} s"
        if done.returncode == -signal.SIGALRM
        else f"ended the process: {last}"
    )
    return [f"{name}: an input {why} (exit code {done.returncode}, {folder / _LAST})"]


def child(name: str, examples: int, number: int, folder: str) -> None:
    print(json.dumps(fuzz_one(name, examples, number, Path(folder))))


@program()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("readers", nargs="*", help=f"default: all of {', '.join(TARGETS)}")
    parser.add_argument("--examples", type=int, default=3000, help="inputs for each reader (default: 3000)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if unknown := [name for name in options.readers if name not in TARGETS]:
        raise ConfigError(f"There is no reader {', '.join(unknown)}: choose from {', '.join(TARGETS)}.")
    console = text_console()
    kept = Path(tempfile.mkdtemp(prefix="acepilot-reader-fuzz-"))
    failed = 0
    for name in options.readers or TARGETS:
        failures = fuzz(name, options.examples, options.seed, kept / name)
        console.print(f"{name}: {options.examples:,} inputs, {len(failures)} failures", *failures, sep="\n  ")
        failed += len(failures)
        if not failures:
            shutil.rmtree(kept / name)
    if not failed:
        kept.rmdir()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
