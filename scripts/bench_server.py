"""Measures the server on this machine: what batching and the prefix cache give. `make bench` runs it.

Each figure is a ratio within one run, on the same server: 16 streaming clients together against 16 one after
another, and the time to first token of a prompt that grew by 20 characters against the same prompt cold.
Run it on an idle machine.
"""

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

CLIENTS = 16
NEW_TOKENS = 64
PREFIX_LINES = 100  # about 1,000 tokens
ROUNDS = 3


@contextmanager
def serving(model: str) -> Generator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "server", "--model", model, "--port", str(port), "--log-level", "error"]
    process = subprocess.Popen(command)
    url = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None:
            try:
                if httpx.get(f"{url}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


async def stream(client: httpx.AsyncClient, prompt: str, max_tokens: int) -> tuple[float, float]:
    """Seconds to the first token, and to the end."""
    body = {"prompt": prompt, "max_tokens": max_tokens, "stream": True}
    began = time.perf_counter()
    first = 0.0
    async with client.stream("POST", "/v1/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: {") and not first:
                first = time.perf_counter() - began
    return first, time.perf_counter() - began


def fresh_prompt(lines: int) -> str:
    """Code that no cache has seen."""
    return "".join(f"value_{uuid.uuid4().hex[:4]} = {number}\n" for number in range(lines))


async def batching(client: httpx.AsyncClient) -> tuple[float, float]:
    prompts = [fresh_prompt(4) for _ in range(2 * CLIENTS)]
    began = time.perf_counter()
    await asyncio.gather(*(stream(client, prompt, NEW_TOKENS) for prompt in prompts[:CLIENTS]))
    together = time.perf_counter() - began
    began = time.perf_counter()
    for prompt in prompts[CLIENTS:]:
        await stream(client, prompt, NEW_TOKENS)
    return together, time.perf_counter() - began


async def prefix_reuse(client: httpx.AsyncClient) -> tuple[float, float]:
    prompt = fresh_prompt(PREFIX_LINES)
    cold, _ = await stream(client, prompt, 4)
    warm, _ = await stream(client, prompt + "result = value_total", 4)
    return warm, cold


async def measure(url: str) -> dict[str, tuple[float, float]]:
    """By name: (time, time that it is compared with), each the median of ROUNDS rounds, in seconds."""
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:
        await stream(client, "warm = ", 4)
        batched = [await batching(client) for _ in range(ROUNDS)]
        reused = [await prefix_reuse(client) for _ in range(ROUNDS)]
    return {
        f"{CLIENTS} clients together / one after another": _medians(batched),
        "first token, prompt grown by 20 characters / cold": _medians(reused),
    }


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", action="append", help="may be given again (default: starter-tiny, starter)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for model in options.model or ["starter-tiny", "starter"]:
        with serving(model) as url:
            results[model] = asyncio.run(measure(url))
    if options.json:
        print(json.dumps(results))
        return 0
    table = Table("model", "what", "seconds", "against", "ratio")
    for model, figures in results.items():
        for what, (seconds, against) in figures.items():
            table.add_row(model, what, f"{seconds:.2f}", f"{against:.2f}", f"{seconds / against:.2f}")
    console = Console()
    console.print(
        f"{platform.machine()}, {os.cpu_count()} cores; {NEW_TOKENS} new tokens; medians of {ROUNDS}"
    )
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
