"""Let twenty developers type for ten minutes, and kill the server halfway: `make soak`.

    python -m bench soak
    python -m bench soak --developers 4 --minutes 2

Each developer has a language server process of his own and types real files at human speed, as in `python -m
bench typing`. All share one server with the starter. Halfway the server is killed with SIGKILL and started
again on its port. The table has the requests, the faults, the errors by kind, the memory at the beginning and
the end of both halves, and the accepted completions that are missing in the events' database. The exit code
is 1 if there were errors other than 429 and those of the outage, if memory grew, or if acceptances were lost
other than those of the server's last second.
"""

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from acepilot.cli import program, text_console
from bench.figures import describe, leave, setting
from bench.hardening.restarting_server import RestartingServer
from bench.peers.processes import PeerFailed, free_port, memory_bytes
from bench.sources import SourceFile, source_files
from bench.typing.editor import SHORTEST_TAKEN, Developer, NoAnswer, Session
from bench.typing.language_server import LanguageServer
from bench.typing.traces import developer_traces

KEYSTROKES = 210
"""Keystrokes of a developer in three files, before the next round begins at other places."""
GROWTH_ALLOWED = 1.1
"""Memory grew if the last tenth of its measurements is more than this many times the first tenth."""
SPARE_BYTES = 30_000_000
"""Bytes of growth that are ignored: allocators do not return all memory to the system."""
SETTLE_S = 30.0
"""Seconds after the restart before memory is measured: until then the caches fill."""
UNSENT_S = 1.5
"""Seconds of acceptances that a killed server may lose: the store writes once a second, and a language server
sends its events every 0.2 s."""
EXPECTED = frozenset({"busy", "slow"})
"""States that are not errors: an overloaded server refuses with 429, or the time budget ends."""
OUTAGE = frozenset({"off", "loading", "error"})
"""States that are not errors while the server is down."""


@dataclass
class SoakCounts:
    """The counts of all developers.

    `accepted` maps a completion's id to the time of its first acceptance, in whole or in part. Failures are
    counted by the language server's state: those of EXPECTED, those of the outage, and all others.
    """

    requests: int = 0
    accepted: dict[str, float] = field(default_factory=dict[str, float])
    expected: Counter[str] = field(default_factory=Counter[str])
    outage: Counter[str] = field(default_factory=Counter[str])
    errors: Counter[str] = field(default_factory=Counter[str])


@dataclass
class Memory:
    """Resident bytes every few seconds: of the server, and of all language servers together."""

    server: list[int] = field(default_factory=list[int])
    language_servers: list[int] = field(default_factory=list[int])


class WatchedServer(LanguageServer):
    """A language server that counts its failures, and records which completions were accepted."""

    def __init__(
        self, command: Sequence[str], log: Path, counts: SoakCounts, restarting: RestartingServer
    ) -> None:
        super().__init__(command, log)
        self._counts = counts
        self._server = restarting

    def insert(self, text: str) -> None:
        if len(text.strip()) >= SHORTEST_TAKEN:  # one key never types that much
            self._counts.accepted.setdefault(self.offered_id, time.monotonic())
        super().insert(text)

    async def ask(self) -> str:
        self._counts.requests += 1
        try:
            return await super().ask()
        except NoAnswer as error:
            state = str(error)
            if state in EXPECTED:
                self._counts.expected[state] += 1
            elif self._server.is_down and state in OUTAGE:
                self._counts.outage[state] += 1
            else:
                self._counts.errors[state] += 1
            raise


async def soak(
    restarting: RestartingServer, developers: int, minutes: float, logs: Path
) -> tuple[SoakCounts, Memory, Memory]:
    """Return the counts, the memory before the kill, and the memory since the restart has settled."""
    counts = SoakCounts()
    files = source_files()
    end = time.monotonic() + minutes * 60
    async with AsyncExitStack() as stack:
        command = [sys.executable, "-m", "lsp", "--server-url", restarting.url]
        servers = [WatchedServer(command, logs / "lsp.log", counts, restarting) for _ in range(developers)]
        for server in servers:
            await stack.enter_async_context(server)
        typing = [
            asyncio.create_task(_type(server, files, number, end)) for number, server in enumerate(servers)
        ]
        first = await _watch(restarting, servers, end - minutes * 30)
        await asyncio.to_thread(restarting.kill_and_restart)
        await asyncio.sleep(SETTLE_S)
        second = await _watch(restarting, servers, end)
        await asyncio.gather(*typing)
    return counts, first, second


async def _watch(restarting: RestartingServer, servers: list[WatchedServer], until: float) -> Memory:
    memory = Memory()
    while True:
        memory.server.append(memory_bytes(restarting.session))
        memory.language_servers.append(sum(memory_bytes(server.pid) for server in servers))
        if time.monotonic() >= until:
            return memory
        await asyncio.sleep(5)


async def _type(server: WatchedServer, files: list[SourceFile], number: int, end: float) -> None:
    for round_number in range(1_000):
        traces = developer_traces(files, number, KEYSTROKES, seed=round_number + 1)
        for trace in traces:
            left_s = end - time.monotonic()
            if left_s <= 0:
                return
            typing = asyncio.create_task(Developer(server, Session()).work([trace]))
            await asyncio.wait([typing], timeout=left_s)
            if not typing.done():
                typing.cancel()
                await asyncio.wait([typing])
            elif typing.exception() is not None:
                raise typing.exception() or PeerFailed("A developer stopped.")


def stored_acceptances(database: Path) -> set[str]:
    """Return the ids of the completions in the store that were accepted at least in part."""
    query = "SELECT completion_id FROM completion_events WHERE kind IN ('accepted', 'partly_accepted')"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return {str(row[0]) for row in connection.execute(query)}


def grew(sizes: Sequence[int]) -> bool:
    """Return whether the mean of the last tenth exceeds the first tenth's by more than allowed."""
    tenth = max(len(sizes) // 10, 1)
    first, last = sum(sizes[:tenth]) / tenth, sum(sizes[-tenth:]) / tenth
    return last > first * GROWTH_ALLOWED and last - first > SPARE_BYTES


@program()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="starter")
    parser.add_argument("--developers", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    console = text_console()
    console.print(describe(setting()))
    for name in [name for name in os.environ if name.startswith("ACEPILOT_") and name != "ACEPILOT_HOME"]:
        del os.environ[name]  # settings of the user's own server
    logs = Path(tempfile.mkdtemp(prefix="acepilot-soak-"))
    database = logs / "events.db"
    port = free_port()
    command = [sys.executable, "-m", "server", "--model", options.model, "--port", str(port)]
    command += ["--log-level", "error"]
    environment = {"ACEPILOT_EVENTS_URL": f"sqlite:///{database}"}
    with RestartingServer(
        command, environment, f"http://127.0.0.1:{port}", logs / "server.log"
    ) as restarting:
        counts, first, second = asyncio.run(soak(restarting, options.developers, options.minutes, logs))
        time.sleep(2)  # the store writes once a second
    stored = stored_acceptances(database)
    lost = [at for completion_id, at in counts.accepted.items() if completion_id not in stored]
    late = sum(restarting.killed_at - UNSENT_S <= at <= restarting.killed_at for at in lost)
    table = Table("", "", show_header=False)
    table.add_row("developers, minutes", f"{options.developers}, {options.minutes:g}")
    table.add_row("requests from editors", f"{counts.requests:,}")
    table.add_row("faults injected", f"kill -9 of the server once; it was down for {restarting.down_s:.1f} s")
    table.add_row("refused with 429, or out of time", _listed(counts.expected))
    table.add_row("while the server was down", _listed(counts.outage))
    table.add_row("other errors", _listed(counts.errors))
    table.add_row("memory of the server, until the kill", _from_to(first.server))
    table.add_row("after it", _from_to(second.server))
    table.add_row("of the language servers, until the kill", _from_to(first.language_servers))
    table.add_row("after it", _from_to(second.language_servers))
    table.add_row("completions accepted, in whole or in part", f"{len(counts.accepted):,}")
    table.add_row("of these not stored", f"{len(lost):,}, of the second before the kill: {late:,}")
    console.print(table, f"logs: {logs}")
    failed = bool(counts.errors) or grew(second.server) or grew(second.language_servers) or len(lost) > late
    return int(failed)


def _from_to(sizes: Sequence[int]) -> str:
    return f"{sizes[0] / 1e6:,.0f} MB, then {sizes[-1] / 1e6:,.0f} MB"


def _listed(states: Counter[str]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in states.most_common()) or "none"


if __name__ == "__main__":
    sys.exit(main())
