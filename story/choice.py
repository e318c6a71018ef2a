"""Choose the careful model among the sweep's candidates, on the development split; a step of steps.py.

The choice uses only holes in repositories that were held out of tuning and are in no table. The gate's
problems are not used.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from acepilot.models.manifest import write_atomically
from story.difference import Difference, differences
from story.programs import PYTHON, must_run

TOLERATED_DRIFT = 0.1
"""The largest admitted drift, as a share of the eager tune's.

The eager tune lost nine points in all languages together. If losses grow with the drift, or at worst with its
square root, a tenth of the drift costs one to three points; the gate's margin is four.
"""
LIKELIHOOD = "log_likelihood"


@dataclass(frozen=True)
class Candidate:
    """One candidate's gains and losses on the development split against the base, in nats a token.

    `vue` and `others` are gains in the likelihood of people's code. `drift` is the loss, by language, in the
    likelihood of text that the base wrote.
    """

    name: str
    vue: Difference
    others: Difference
    drift: dict[str, float]

    def is_admitted(self, eager_drift: float) -> bool:
        return self.drift["all"] <= TOLERATED_DRIFT * eager_drift


def choose(base: Path, dev: Path, models: Mapping[str, Path], name: str, target: Path) -> None:
    """Register the best of `models` as `name`, and write the reasons to `target`.

    `dev` holds a folder with the hole runs of each candidate; `base` is the folder of the base model.
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
    """Return the admitted candidate with the largest gain in Vue; if none is admitted, the one with least
    drift.
    """
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
