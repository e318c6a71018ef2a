"""Run `python -m server` or `python -m lsp` with levers off and with counters, for the benchmarks.

    python bench/peers/levers.py --counts FOLDER [--without LEVER] server --model starter --port 8020

A lever is a part of the product that makes completions faster. Levers are switched off, and counters are put
in, by the arguments of public constructors. Each process writes its counts to a file in FOLDER.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:  # each program imports only what it runs: see run_server and run_language_server
    from acepilot.models.registry import ModelFolder
    from lsp.keystroke.suggest import Step
    from lsp.server import AcepilotLanguageServer
    from lsp.settings import LspSettings
    from server.engine.base import Engine, EngineLoad, EngineOptions
    from server.engine.opening import EngineName

LEVERS = {
    "prefix-reuse": "the engine reuses the KV cache of earlier prompts with the same beginning",
    "prompt-lookup": "the engine drafts tokens from the prompt and verifies several in one step",
    "early-stopping": "generation ends as soon as nothing more would be shown",
    "live-stream": "typing along a suggestion that is still being generated does not restart it",
    "lsp-cache": "the language server's cache answers requests along a suggestion that it has made",
    "server-cache": "the server's cache does the same",
    "adaptive-debounce": "the wait before a request follows the user's own typing rhythm",
}
FIXED_DEBOUNCE_MS = 100.0
"""The wait in milliseconds without the adaptive debounce: the same as in plain_client.py."""


class Counts:
    """The counts of this process. The file is rewritten at every change, since the process may be killed."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"{os.getpid()}.json"
        self._counts: Counter[str] = Counter()

    def increment(self, name: str) -> None:
        self.set({name: self._counts[name] + 1})

    def set(self, counts: dict[str, int]) -> None:
        self._counts |= counts
        staging = self._file.with_suffix(".part")
        staging.write_text(json.dumps(self._counts), encoding="utf-8")
        staging.replace(self._file)


def read_counts(folder: Path) -> "Counter[str]":
    """Return the sum of all processes' counts."""
    total: Counter[str] = Counter()
    for file in folder.glob("*.json"):
        total.update(json.loads(file.read_text(encoding="utf-8")))
    return total


class CountedEngine:
    """An engine that writes its token counts whenever the server asks for its load, as `/metrics` does."""

    def __init__(self, engine: "Engine", counts: Counts) -> None:
        self._engine = engine
        self._counts = counts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def load(self) -> "EngineLoad":
        load = self._engine.load()
        counts = asdict(load.counts)
        counts["drafts_right"] = counts.pop("accepted_tokens")
        self._counts.set(counts)
        return load


def run_server(arguments: list[str], without: Sequence[str], counts: Counts) -> int:
    from server.__main__ import read_settings, serve
    from server.engine.opening import open_engine
    from server.options import ServiceOptions

    service_options = ServiceOptions()
    if "early-stopping" in without:
        service_options = replace(service_options, early_stops=())
    if "server-cache" in without:
        service_options = replace(service_options, cache_entries=0)

    def open_counted(model: "ModelFolder", name: "EngineName", options: "EngineOptions") -> "Engine":
        if "prefix-reuse" in without:
            options = replace(options, prefix_cache=False)
        if "prompt-lookup" in without:
            options = replace(options, prompt_lookup=False)
        return cast("Engine", CountedEngine(open_engine(model, name, options), counts))

    return serve(read_settings(arguments), service_options, open_counted)


def run_language_server(arguments: list[str], without: Sequence[str], counts: Counts) -> int:
    from acepilot.completion_cache import CompletionCache
    from lsp.__main__ import main as run_lsp
    from lsp.keystroke.debounce import Debounce
    from lsp.keystroke.suggest import Suggester
    from lsp.server import AcepilotLanguageServer
    from lsp.suggestion import Suggestion

    class FixedDebounce(Debounce):
        def wait_ms(self, line_before: str, line_after: str, *, invoked: bool) -> float:
            return 0.0 if invoked else FIXED_DEBOUNCE_MS

    class UnsharedSuggester(Suggester):
        """A suggester that cancels the stream of the previous request, so that no two requests share one."""

        async def suggest(self, uri: str, *rest: Any, **options: Any) -> list[Suggestion]:
            self.forget(uri)
            return await super().suggest(uri, *rest, **options)

    names: dict[Step, str] = {
        "request_sent": "posted",
        "cache_hit": "lsp_cache",
        "own_stream": "fresh",
        "shared_stream": "live_stream",
    }

    def new_suggester(*parts: Any, **options: Any) -> Suggester:
        kind = UnsharedSuggester if "live-stream" in without else Suggester
        return kind(
            *parts,
            **options,
            cache=CompletionCache(0) if "lsp-cache" in without else None,
            debounce=FixedDebounce() if "adaptive-debounce" in without else None,
            on_step=lambda step: counts.increment(names[step]),
        )

    def new_server(settings: "LspSettings") -> "AcepilotLanguageServer":
        return AcepilotLanguageServer(settings, new_suggester)

    return run_lsp(arguments, new_server)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--without", action="append", default=[], choices=LEVERS)
    parser.add_argument("--counts", type=Path, required=True, help="folder for the counts")
    parser.add_argument("program", choices=["server", "lsp"])
    options, rest = parser.parse_known_args()
    run = run_server if options.program == "server" else run_language_server
    return run(rest, options.without, Counts(options.counts))


if __name__ == "__main__":
    sys.exit(main())
