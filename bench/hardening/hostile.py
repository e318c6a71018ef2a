"""Measure for how long one hostile request can stop a server from answering others.

    python -m bench hostile --sample 300
    python -m bench hostile --json hostile.json

Each body has a size that the server allows, and tries the worst case of a lexer, filter, parser, tokenizer or
validator, or of what judges generated text, in each language and on each route. While it is answered, another
connection asks for /health without pause; its slowest answer is the stall. Each body is sent three times, and
the least of the three counts, since other programs also take time from a machine. Exit code 1 if a stall
exceeds the limit.
"""

import argparse
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from threading import Event, Thread

from rich.table import Table

from acepilot.cli import program, text_console
from bench.figures import describe, leave, setting
from bench.hardening.hostile_bodies import Attack, generated, read, structured
from bench.peers.servers import Contestant, serving

TRIES = 3
ROWS_SHOWN = 20
TIMEOUT_S = 120


@dataclass(frozen=True)
class Stall:
    """The slowest answer to others, `ms` until all answers were there, and the least `status` of these."""

    kind: str
    route: str
    language: str
    stall_ms: float
    ms: float
    status: int


def measure(port: int, attack: Attack, tries: int = TRIES, at_once: int = 1) -> Stall:
    """Send a body `tries` times, over `at_once` connections. Raises OSError if the server is gone."""
    body = attack.make()
    results = [_once(port, attack.route, body, at_once) for _ in range(tries)]
    stall_ms, ms, status = min(results)
    return Stall(attack.kind, attack.route, attack.language, stall_ms, ms, status)


def _once(port: int, route: str, body: bytes, at_once: int) -> tuple[float, float, int]:
    done, slowest = Event(), [0.0]
    probe = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    _ask(probe)

    def watch() -> None:
        while not done.is_set():
            slowest[0] = max(slowest[0], _ask(probe))

    watching = Thread(target=watch)
    watching.start()
    try:
        began = time.perf_counter()
        with ThreadPoolExecutor(at_once) as senders:
            sent = [senders.submit(_post, port, route, body) for _ in range(at_once)]
        ms = (time.perf_counter() - began) * 1000
        status = min(each.result() for each in sent)
    finally:
        done.set()
        watching.join()
        probe.close()
    return slowest[0] * 1000, ms, status


def _post(port: int, route: str, body: bytes) -> int:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    client.request("POST", route, body, {"Content-Type": "application/json"})
    answer = client.getresponse()
    answer.read()
    client.close()
    return answer.status


def _ask(connection: http.client.HTTPConnection) -> float:
    began = time.perf_counter()
    connection.request("GET", "/health")
    connection.getresponse().read()
    return time.perf_counter() - began


def sample(count: int | None, seed: int) -> list[Attack]:
    """Return all attacks, or `count` of them: drawn with `seed`, as many of each group if possible."""
    groups = [list(group()) for group in (read, generated, structured)]
    if count is None:
        return [attack for group in groups for attack in group]
    draw = random.Random(seed)
    for group in groups:
        draw.shuffle(group)
    in_turn = chain.from_iterable(zip_longest(*groups))
    return list(islice((attack for attack in in_turn if attack is not None), count))


def _table(stalls: Sequence[Stall]) -> Table:
    table = Table("kind", "route", "language", "stall ms", "answer ms", "status")
    for stall in stalls:
        figures = f"{stall.stall_ms:.0f}", f"{stall.ms:.0f}", str(stall.status)
        table.add_row(stall.kind, stall.route, stall.language, *figures)
    return table


@program()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="starter-tiny")
    parser.add_argument("--sample", type=int, metavar="N", help="draw N bodies (default: all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="send each body N times at once")
    parser.add_argument("--limit-ms", type=float, default=50, help="of a stall (default: 50)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    console = text_console()
    console.print(describe(setting()))
    logs = Path(tempfile.mkdtemp(prefix="acepilot-hostile-"))
    os.environ["ACEPILOT_EVENTS_URL"] = f"sqlite:///{logs / 'events.sqlite3'}"
    command = (sys.executable, "-m", "server", "--model", options.model, "--port", "{port}")
    server = Contestant("server", "", "", (*command, "--log-level", "error"), ready_path="/ready")
    with serving(server, logs) as running:
        port = int(running.url.rpartition(":")[2])
        drawn = sample(options.sample, options.seed)
        stalls = [measure(port, attack, at_once=options.at_once) for attack in drawn]
    stalls.sort(key=lambda stall: -stall.stall_ms)
    if options.json:
        options.json.write_text(json.dumps([asdict(stall) for stall in stalls], indent=1), encoding="utf-8")
    over = sum(stall.stall_ms > options.limit_ms for stall in stalls)
    console.print(_table(stalls[:ROWS_SHOWN]))
    console.print(f"{len(stalls):,} bodies, worst stall {stalls[0].stall_ms:.0f} ms, {over} over the limit")
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
