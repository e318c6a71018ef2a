"""Measure one contestant with developers who type: start its server, warm it, measure, end it."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from tokenizers import Tokenizer

from bench.peers.levers import read_counts
from bench.peers.processes import PeerFailed, cpu_seconds
from bench.peers.servers import Contestant, Running, growth, language_server_command, serving
from bench.typing.editor import PATIENCE_S, Assistant, Developer, NoAnswer, Pause, Session
from bench.typing.language_server import LanguageServer
from bench.typing.plain_client import PlainClient
from bench.typing.traces import Trace
from finetune.modeling.base_model import base_folder

WARM_TEXT = "def greet(name):\n    return "
SETTLE_S = 1.0
"""Seconds for cancelled requests to end and be counted."""

OWN_COUNTERS = {
    "server_cache": ("acepilot_cache_hits_total", ()),
    "completions": ("acepilot_completions_total", ()),
    "refused": ("acepilot_completions_total", ("refused", "failed")),
    "generated_tokens": ("acepilot_generated_tokens_total", ()),
}
"""`Replay.inside`: name -> the server's counter, and the outcomes that count (empty: all)."""


@dataclass(frozen=True)
class Replay:
    """The figures of one contestant. `inside` has the counts of our own processes; it is empty for peers."""

    name: str
    quantisation: str
    version: str
    developers: int
    keystrokes: int
    asked: int
    taken: int
    kept_chars: int
    computed_tokens: int
    cpu_s: float
    wall_s: float
    inside: dict[str, int]
    pauses: list[Pause]


def replay(contestant: Contestant, model: str, work: Sequence[Sequence[Trace]], logs: Path) -> Replay:
    """Measure `contestant`. `work` has, for each developer, the traces that he types. Raises PeerFailed."""
    with serving(contestant, logs) as server:
        return asyncio.run(_measure(contestant, server, model, work, logs))


async def _measure(
    contestant: Contestant, server: Running, model: str, work: Sequence[Sequence[Trace]], logs: Path
) -> Replay:
    async with _assistants(contestant, server, model, len(work), logs) as (assistants, processes):
        for assistant in assistants:
            await _warm(contestant, assistant)
        await asyncio.sleep(SETTLE_S)
        # Our server writes its engine's counts when it answers `/metrics`, so the counts are read after it.
        metrics, inside = server.metrics(), _inside(contestant)
        cpu_s, began = sum(map(cpu_seconds, processes)), asyncio.get_running_loop().time()
        sessions = [Session() for _ in work]
        developers = [Developer(*pair) for pair in zip(assistants, sessions, strict=True)]
        await asyncio.gather(
            *(developer.work(traces) for developer, traces in zip(developers, work, strict=True))
        )
        wall_s = asyncio.get_running_loop().time() - began
        await asyncio.sleep(SETTLE_S)
        cpu_s = sum(map(cpu_seconds, processes)) - cpu_s
        after = server.metrics()
        inside = _inside(contestant) - inside
    if contestant.counts:
        for name, (counter, outcomes) in OWN_COUNTERS.items():
            inside[name] += growth(metrics, after, (counter,), outcomes)
        computed = inside["computed_tokens"]
    else:
        computed = growth(metrics, after, contestant.computed) - growth(metrics, after, contestant.reused)
    return Replay(
        name=contestant.name,
        quantisation=contestant.quantisation,
        version=contestant.version,
        developers=len(work),
        keystrokes=sum(session.keystrokes for session in sessions),
        asked=sum(session.asked for session in sessions),
        taken=sum(session.taken for session in sessions),
        kept_chars=sum(session.kept_chars for session in sessions),
        computed_tokens=computed,
        cpu_s=cpu_s,
        wall_s=wall_s,
        inside=dict(inside),
        pauses=[pause for session in sessions for pause in session.pauses],
    )


@asynccontextmanager
async def _assistants(
    contestant: Contestant, server: Running, model: str, count: int, logs: Path
) -> AsyncGenerator[tuple[list[Assistant], list[int]]]:
    """Yield an assistant for each developer, and the process sessions that work for them."""
    async with AsyncExitStack() as stack:
        if contestant.counts:
            command = language_server_command(server.url, contestant, PATIENCE_S)
            log = logs / "language-servers.log"
            editors = [await stack.enter_async_context(LanguageServer(command, log)) for _ in range(count)]
            yield list[Assistant](editors), [server.session, *(editor.pid for editor in editors)]
            return
        tokenizer = Tokenizer.from_file(str(base_folder(model) / "tokenizer.json"))
        limits = httpx.Limits(max_connections=None)
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, limits=limits))
        clients = [PlainClient(http, model, tokenizer, contestant.extra) for _ in range(count)]
        yield list[Assistant](clients), [server.session]


async def _warm(contestant: Contestant, assistant: Assistant) -> None:
    """Complete another text once, since a first request compiles, allocates and connects."""
    await assistant.open("warm.py", "python", WARM_TEXT, "\n")
    try:
        await assistant.ask()
    except NoAnswer as error:
        raise PeerFailed(f"{contestant.name} does not complete even one text: {error}") from error
    await assistant.close()


def _inside(contestant: Contestant) -> Counter[str]:
    return read_counts(contestant.counts) if contestant.counts else Counter()
