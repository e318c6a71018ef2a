"""Measure servers under load: time to the first token, total time, tokens per second, and the gain of
batching.

    python -m bench load --quick                               our server: two minutes
    python -m bench load --engine openvino --engine torch --llama-server PATH --vllm PATH --naive

Prompts of 32, 512 and 1,500 tokens come from 1, 4 and 16 clients at once; all differ, so that no cache helps.
Then a known prompt grows by a few words. Each figure is followed by its ratio to the peers' and to the limit
of this machine's memory and arithmetic (bench/limits.py). Run it on an idle machine. docs/benchmarks.md has
results.
"""

import argparse
import asyncio
import dataclasses
import json
import signal
import sys
import tempfile
from pathlib import Path

import httpx
from tokenizers import Tokenizer

from acepilot.cli import print_error, program, text_console
from bench.figures import describe, leave, setting
from bench.limits import measure_machine, model_needs
from bench.load import server_tables
from bench.load.load import Load, Prompts
from bench.load.server_tables import Measured
from bench.peers import contestants
from bench.peers.processes import PeerFailed
from bench.peers.servers import Contestant, gguf_of, serving
from bench.sources import source_files
from finetune.modeling.base_model import base_folder

PROMPT_TOKENS = (32, 512, 1500)
CLIENTS = (1, 4, 16)
QUICK_PROMPT_TOKENS = (32, 512)
QUICK_CLIENTS = (1, 4)
ROUNDS_ALONE = 3
"""Rounds of a single client, whose figures are medians. Many clients give many values in one round."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    contestants.add_flags(parser)
    parser.add_argument(
        "--quick", action="store_true", help="only prompts up to 512 tokens and up to 4 clients"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to FILE")
    return parser.parse_args()


async def measure(contestant: Contestant, url: str, model: str, *, quick: bool) -> Measured:
    tokenizer = Tokenizer.from_file(str(base_folder(model) / "tokenizer.json"))
    prompts = Prompts(source_files(), tokenizer, seed=1)
    sizes, clients = (QUICK_PROMPT_TOKENS, QUICK_CLIENTS) if quick else (PROMPT_TOKENS, CLIENTS)
    # A server may close a kept connection just as it is reused; that must not count as a failure under load.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, limits=limits) as http:
        load = Load(http, contestant, model)
        await load.ask("def greet(name):\n    return ", 4)
        cells = [
            await load.cell(prompts, size, count, ROUNDS_ALONE if count == 1 else 1)
            for count in clients
            for size in sizes
        ]
        warm_s, cold_s = await load.reuse(prompts, sizes[-1], ROUNDS_ALONE)
    return Measured(contestant.name, contestant.quantisation, contestant.version, cells, warm_s, cold_s)


@program()
def main() -> int:
    """Return 1 when a contestant could not be measured."""
    options = parse()
    signal.signal(signal.SIGTERM, leave)
    console = text_console()
    about, measured, failed = setting(), list[Measured](), False
    console.print(describe(about))
    folder = Path(tempfile.mkdtemp(prefix="acepilot-bench-"))
    needs = model_needs(gguf_of(options.model))
    machine = measure_machine()
    most = max(QUICK_CLIENTS if options.quick else CLIENTS)
    for one in contestants.contestants(options, folder, streams=most):
        console.print(f"{one.name}: server's log in {folder} ...")
        try:
            with serving(one, folder) as server:
                work = measure(one, server.url, options.model, quick=options.quick)
                measured.append(asyncio.run(work))
        except PeerFailed as error:  # the other contestants are still measured
            failed = True
            print_error(error.message)
        if options.json:
            everything = {
                "setting": about,
                "machine": dataclasses.asdict(machine),
                "needs": dataclasses.asdict(needs),
                "measured": [dataclasses.asdict(each) for each in measured],
            }
            options.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    if measured:
        for table in server_tables.tables(measured, machine, needs):
            console.print(table)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
