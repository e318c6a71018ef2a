"""Choose the contestants from the command line: our engines, with or without levers, and peers."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from acepilot.models.resolve import resolve
from bench.peers import servers
from bench.peers.levers import LEVERS
from bench.peers.servers import Contestant
from server.engine.opening import suiting


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="starter", help="starter or starter-tiny (default: starter)")
    parser.add_argument("--engine", action="append", help="our engine; repeat for several (default: auto)")
    parser.add_argument(
        "--upstream", metavar="URL", help="also measure our upstream engine in front of this server"
    )
    parser.add_argument("--naive", action="store_true", help="peer: transformers' generate behind FastAPI")
    parser.add_argument("--vllm", type=Path, metavar="PATH", help="peer: vLLM's program, CPU build")
    parser.add_argument("--llama-server", type=Path, metavar="PATH", help="peer: llama.cpp's server")
    parser.add_argument(
        "--llama-model", type=Path, metavar="GGUF", help="measure llama.cpp again with this file"
    )


def contestants(
    options: argparse.Namespace, folder: Path, *, streams: int, levers: bool = False
) -> Iterator[Contestant]:
    """Yield the contestants, ours first. `streams` is the number of requests at once.

    With `levers` ours comes again without each lever. Our processes write their counts to `folder`.
    """
    without = tuple(getattr(options, "without", ()))
    for engine in options.engine or ["auto"]:
        yield _own(options.model, engine, folder, without)
        if levers:
            for lever in LEVERS:
                yield _own(options.model, engine, folder, (lever,))
            yield _own(options.model, engine, folder, tuple(LEVERS))
    if options.upstream:
        yield _own(options.model, "upstream", folder, without, ("--upstream", options.upstream))
    if options.llama_server:
        yield servers.llama(options.llama_server, options.model, streams, None)
        if options.llama_model:
            yield servers.llama(options.llama_server, options.model, streams, options.llama_model)
    if options.vllm:
        yield servers.vllm(options.vllm, options.model, streams)
    if options.naive:
        yield servers.naive(options.model)


def _own(
    model: str, engine: str, folder: Path, without: tuple[str, ...], flags: tuple[str, ...] = ()
) -> Contestant:
    if engine == "auto":
        engine = suiting(resolve(model))
    counts = folder / "-".join(["counts", engine, *without])
    counts.mkdir()
    return servers.acepilot(model, engine, counts, without, flags)
