"""Complete Vue files through the language server, as an editor does; a step of steps.py, for the report.

The places are the sample of `make run`, and holes drawn at even distances from repositories that no model was
tuned on, so that nobody picked them.
"""

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from acepilot.models.manifest import write_atomically
from bench.typing.editor import NoAnswer
from bench.typing.language_server import LanguageServer
from eval_humaneval.holes.cut import cut_holes
from story.programs import BIN, ROOT, serving

SAMPLE = ROOT / "dev" / "samples" / "Counter.vue"
CURSOR = "‸"
PLACES = 6
DRAWN = 24
SEED = 7
"""Not the tables' seed 0, so that the places shown are not the places counted."""
SHOWN_LINES = 6


@dataclass(frozen=True)
class Place:
    """A file with a cursor. `truth` is what the author wrote there; empty for the sample."""

    name: str
    before: str
    after: str
    truth: str = ""


@dataclass(frozen=True)
class Seen:
    """The suggestion at a place, or the reason why there was none, with a few lines around the place."""

    name: str
    before: str
    after: str
    truth: str
    offered: str
    why_nothing: str


def complete(model: str, attempt: Path | None, holes: Path, target: Path) -> None:
    """Serve `model`, and complete the sample and PLACES places in the repositories in `holes`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with serving(name_served(model, attempt), target.with_suffix(".server.log")) as url:
        seen = asyncio.run(_session(url, places(holes)))
    write_atomically(target, json.dumps([asdict(one) for one in seen], indent=2, ensure_ascii=False) + "\n")


def name_served(model: str, attempt: Path | None) -> str:
    """Return `current` if the file `attempt` records that `model` was promoted, else `model`."""
    promoted = attempt is not None and json.loads(attempt.read_text(encoding="utf-8"))["promoted"]
    return "current" if promoted else model


def places(holes: Path) -> list[Place]:
    before, after = SAMPLE.read_text(encoding="utf-8").split(CURSOR)
    drawn = [
        hole
        for hole in cut_holes(holes, per_language=DRAWN, seed=SEED)
        if hole.problem.language == "vue"
        and hole.kind != "expression"  # editors do not ask in the middle of a line
    ]
    spread = drawn[:: max(1, len(drawn) // PLACES)][:PLACES]
    return [
        Place(SAMPLE.name, before, after),
        *(Place(hole.problem.id, hole.before, hole.after, hole.truth) for hole in spread),
    ]


async def _session(url: str, asked: list[Place]) -> list[Seen]:
    with TemporaryDirectory() as folder:
        command = [str(BIN / "acepilot-lsp"), "--server-url", url, "--time-budget-ms", "60000"]
        async with LanguageServer(command, Path(folder) / "lsp.log") as server:
            return [await _seen(server, number, place) for number, place in enumerate(asked)]


async def _seen(server: LanguageServer, number: int, place: Place) -> Seen:
    await server.open(f"Place{number}.vue", "vue", place.before, place.after)
    offered = why = ""
    try:
        offered = await server.ask()
    except NoAnswer as error:
        why = str(error)
    await server.close()
    before = "".join(place.before.splitlines(keepends=True)[-SHOWN_LINES:])
    after = "".join(place.after.splitlines(keepends=True)[:SHOWN_LINES])
    return Seen(place.name, before, after, place.truth, offered, why or ("" if offered else "nothing to add"))
