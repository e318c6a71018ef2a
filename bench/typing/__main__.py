"""Replay typing over real files through the real language server and through peers: how long until ghost
text?

    python -m bench typing                                      our server alone, one developer
    python -m bench typing --naive --vllm PATH --llama-server PATH   and peers, on the same traces
    python -m bench typing --developers 8 --vllm PATH           eight developers, one server
    python -m bench typing --levers                             our server without each lever

A simulated developer types the rest of real files in real time, with human rhythm, pauses and slips, and
accepts a suggestion if it is exactly what comes next. docs/benchmarks.md defines the figures. Run it on an
idle machine. Contestants are measured one after the other; each one's server is started and ended here.
"""

import argparse
import dataclasses
import json
import signal
import sys
import tempfile
from pathlib import Path

from acepilot.cli import print_error, program, text_console
from bench.figures import describe, leave, setting
from bench.peers import contestants
from bench.peers.levers import LEVERS
from bench.peers.processes import PeerFailed
from bench.sources import source_files
from bench.typing import tables
from bench.typing.replay import Replay, replay
from bench.typing.traces import developer_traces


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    contestants.add_flags(parser)
    parser.add_argument(
        "--developers",
        type=int,
        default=1,
        help="developers who type at the same time on one server (default: 1)",
    )
    parser.add_argument(
        "--keystrokes",
        type=int,
        default=210,
        help="keystrokes of each developer, approximately (default: 210)",
    )
    parser.add_argument("--seed", type=int, default=1, help="chooses the places and the rhythm (default: 1)")
    parser.add_argument(
        "--without", action="append", default=[], choices=LEVERS, help="measure ours without this lever"
    )
    parser.add_argument(
        "--levers", action="store_true", help="measure ours without each lever, then without all"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to FILE")
    return parser.parse_args()


@program()
def main() -> int:
    """Return 1 when a contestant could not be measured."""
    options = parse()
    signal.signal(signal.SIGTERM, leave)
    console = text_console()
    about, replays, failed = setting(), list[Replay](), False
    console.print(describe(about))
    folder = Path(tempfile.mkdtemp(prefix="acepilot-replay-"))
    chosen = list(contestants.contestants(options, folder, streams=options.developers, levers=options.levers))
    files = source_files()
    developers = range(options.developers)
    work = [developer_traces(files, number, options.keystrokes, options.seed) for number in developers]
    for one in chosen:
        console.print(f"{one.name}: server's log in {folder} ...")
        try:
            replays.append(replay(one, options.model, work, folder))
        except PeerFailed as error:  # the other contestants are still measured
            failed = True
            print_error(error.message)
        if options.json:
            everything = {"setting": about, "replays": [dataclasses.asdict(each) for each in replays]}
            options.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    if replays:
        console.print(tables.lever_table(replays) if options.levers else tables.replay_table(replays))
        console.print(tables.inside_table(replays[:1] if options.levers else replays))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
