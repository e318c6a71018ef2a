"""Chooses the careful model among the sweep's candidates, on the development split; from steps.py's list.

Seen are only holes in repositories that were held out of tuning and are in none of the tables; the gate's
problems have no part in it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from acepilot.models.manifest import write_atomically
from story.difference import Difference, differences
from story.programs import PYTHON, must_run

TOLERATED_DRIFT = 0.1
"""Share of the eager tune's drift that a candidate may have. That one lost nine points in all languages
together. What is lost should grow with the drift or, at worst, with its root: a tenth of it leaves one to
three points, and the gate tolerates four."""
LIKELIHOOD = "log_likelihood"


@dataclass(frozen=True)
class Candidate:
    """What one candidate won and lost on the development split against the base, nats a token. `vue` and
    `others` are likelihood of people's code; `drift` is that of the base's own words, lost, by language."""

    name: str
    vue: Difference
    others: Difference
    drift: dict[str, float]

    def is_admitted(self, eager_drift: float) -> bool:
        return self.drift["all"] <= TOLERATED_DRIFT * eager_drift


def choose(base: Path, dev: Path, models: Mapping[str, Path], name: str, target: Path) -> None:
    """Registers the best of `models` as `name`, and writes to `target` why it is that one.

    `dev` holds a folder for each, with its runs over the holes; `base` is the base model's.
    """
    eager_drift = _drift(dev / "eager")["all"]
    candidates = [_measured(base, cell, dev / cell) for cell in models]
    best = best_of(candidates, eager_drift)
    must_run([PYTHON, "-m", "acepilot.models", "add", str(models[best.name]), "--name", name])
    document = {
        "chosen": best.name,
        "admitted": best.is_admitted(eager_drift),
        "eager_drift": eager_drift,
        "tolerated_drift": TOLERATED_DRIFT,
        "candidates": [asdict(one) | {"admitted": one.is_admitted(eager_drift)} for one in candidates],
    }
    write_atomically(target, json.dumps(document, indent=2) + "\n")


def best_of(candidates: list[Candidate], eager_drift: float) -> Candidate:
    """Of those that have moved little elsewhere the one that wins most in Vue; where all have moved more, the
    one that has moved least, and the gate will have the last word."""
    admitted = [one for one in candidates if one.is_admitted(eager_drift)]
    if admitted:
        return max(admitted, key=lambda one: one.vue.value)
    return min(candidates, key=lambda one: one.drift["all"])


def _measured(base: Path, cell: str, folder: Path) -> Candidate:
    vue = differences(base / "vue", folder / "vue", LIKELIHOOD)
    others = differences(base / "others", folder / "others", LIKELIHOOD)
    return Candidate(cell, vue["all"], others["all"], _drift(folder))


def _drift(folder: Path) -> dict[str, float]:
    document = json.loads((folder / "drift.json").read_text(encoding="utf-8"))
    return {name: one["value"] for name, one in document.items()}
