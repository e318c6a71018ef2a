"""Runs `python -m server` or `python -m lsp` with counters on and levers off, for the benchmarks only.

    python bench/peers/without.py --counts FOLDER [--without LEVER] server --model starter --port 8020

A lever is something that makes completions faster. The product has no option to switch one off, so here each
is switched off in the one place where it is. The engine's own process, which `multiprocessing` starts from
this file too, learns of it by environment variables. Each process keeps its counts in FOLDER.
"""

# Replacing what is private in the product is this file's purpose:
# pyright: reportPrivateUsage=false

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

LEVERS = {
    "prefix-reuse": "keys and values of a prompt's beginning are kept for the next prompt",
    "prompt-lookup": "tokens are drafted from the prompt and verified many at a time",
    "early-stopping": "generation ends as soon as nothing more would be shown",
    "live-stream": "while one types along a suggestion that is still being made, it goes on",
    "lsp-cache": "a suggestion answers all of its own beginnings, in the language server",
    "server-cache": "the same in the server",
    "adaptive-debounce": "how long to wait before asking follows from the user's own rhythm",
}
FIXED_DEBOUNCE_MS = 100.0
"""Instead of the adaptive one: what the peers' client waits."""

_WITHOUT, _COUNTS = "ACEPILOT_BENCHMARK_WITHOUT", "ACEPILOT_BENCHMARK_COUNTS"


class Counts:
    """Written after every change: a process may be ended at any time."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"{os.getpid()}.json"
        self._counts: Counter[str] = Counter()

    def add(self, **counts: int) -> None:
        self._counts.update(counts)
        staging = self._file.with_suffix(".part")
        staging.write_text(json.dumps(self._counts), encoding="utf-8")
        staging.replace(self._file)


def read_counts(folder: Path) -> "Counter[str]":
    """All processes' counts together."""
    total: Counter[str] = Counter()
    for file in folder.glob("*.json"):
        total.update(json.loads(file.read_text(encoding="utf-8")))
    return total


def patch_engine(without: set[str], counts: Counts) -> None:
    """In the engine's own process, before it opens its model."""
    from server.engine.scheduler import schedule, slots

    if "prefix-reuse" in without:
        _replace(slots, "common_prefix", _nothing_in_common)
        _replace(schedule.Schedule, "_is_being_read", _no)  # nobody waits for another's prompt
    take, settle = slots.Rows.take, schedule.Schedule.settle

    def counted_take(self: Any, token_ids: list[int]) -> Any:
        place = take(self, token_ids)
        if place is not None:
            counts.add(sequences=1, prompt_tokens=len(token_ids), reused_tokens=place.reused)
        return place

    def counted_settle(self: Any, part: Any, choices: Any) -> list[int]:
        fresh = settle(self, part, choices)
        right = max(len(fresh) - 1, 0) if part.drafted else 0
        counts.add(computed_tokens=len(part.chunk.token_ids), drafted_tokens=part.drafted, drafts_right=right)
        return fresh

    _replace(slots.Rows, "take", counted_take)
    _replace(schedule.Schedule, "settle", counted_settle)


def patch_lsp(without: set[str], counts: Counts) -> None:
    from lsp.keystroke import debounce, suggest
    from lsp.keystroke import shared_stream as live

    if "lsp-cache" in without:
        _replace(suggest, "CompletionCache", _Forgetful)
    if "adaptive-debounce" in without:
        _replace(debounce.Debounce, "wait_ms", _fixed_wait_ms)
    if "live-stream" in without:
        typed_since = live.SharedStream.typed_since

        def only_its_own(self: live.SharedStream, now: Any) -> str | None:
            return typed_since(self, now) if now.version == self.snapshot.version else None

        _replace(live.SharedStream, "typed_since", only_its_own)
    cached, follow, start = suggest.CompletionCache.get, suggest.Suggester._follow, suggest.Suggester._start

    def counted_get(self: Any, prefix: str, suffix: str, salt: str) -> Any:
        hit = cached(self, prefix, suffix, salt)
        if hit is not None:
            counts.add(lsp_cache=1)
        return hit

    async def counted_follow(self: Any, stream: live.SharedStream, snapshot: Any, *rest: Any) -> Any:
        answer = await follow(self, stream, snapshot, *rest)
        if answer is not suggest.SUPERSEDED:
            counts.add(**{"fresh" if stream.snapshot.version == snapshot.version else "live_stream": 1})
        return answer

    def counted_start(self: Any, snapshot: Any) -> live.SharedStream:
        counts.add(posted=1)
        return start(self, snapshot)

    _replace(suggest.CompletionCache, "get", counted_get)
    _replace(suggest.Suggester, "_follow", counted_follow)
    _replace(suggest.Suggester, "_start", counted_start)


def _replace(owner: Any, name: str, value: Any) -> None:
    """A lever that the product no longer has under this name must not be switched off without effect."""
    if not hasattr(owner, name):
        raise SystemExit(f"{owner.__name__} has no {name} any more: bring {__file__} up to date.")
    setattr(owner, name, value)


class _Forgetful:
    """In place of a cache: remembers nothing."""

    def __init__(self, capacity: int) -> None:
        pass

    def put(self, prefix: str, suffix: str, salt: str, text: str, tag: str = "") -> None:
        pass

    def get(self, prefix: str, suffix: str, salt: str) -> None:
        return None


def _nothing_in_common(first: list[int], second: list[int]) -> int:
    return 0


def _no(self: Any, sequence: Any) -> bool:
    return False


def _fixed_wait_ms(self: Any, line_before: str, line_after: str, *, invoked: bool) -> float:
    return 0.0 if invoked else FIXED_DEBOUNCE_MS


def _patch(patch: Callable[[set[str], Counts], None]) -> None:
    patch(set(os.environ[_WITHOUT].split()), Counts(Path(os.environ[_COUNTS])))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--without", action="append", default=[], choices=LEVERS)
    parser.add_argument("--counts", type=Path, required=True, help="a folder for the counts")
    parser.add_argument("program", choices=["server", "lsp"])
    options, rest = parser.parse_known_args()
    os.environ[_WITHOUT] = " ".join(options.without)
    os.environ[_COUNTS] = str(options.counts)
    if options.program == "lsp":
        from lsp.__main__ import main as run_lsp

        _patch(patch_lsp)
        return run_lsp(rest)
    if "prompt-lookup" in options.without:
        rest += ["--prompt-lookup", "false"]  # the one lever that is an option
    from server.__main__ import read_settings, serve
    from server.options import ServiceOptions

    service_options = ServiceOptions()
    if "early-stopping" in options.without:
        service_options = replace(service_options, early_stops=())
    if "server-cache" in options.without:
        service_options = replace(service_options, cache_entries=0)
    return serve(read_settings(rest), service_options)


if __name__ == "__mp_main__":
    _patch(patch_engine)
if __name__ == "__main__":
    sys.exit(main())
