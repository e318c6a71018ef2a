"""Chooses the careful model among the sweep's candidates, on the development split; from steps.py's list.

Seen are only holes in repositories that were held out of tuning and are in none of the tables; the gate's
problems have no part in it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from acepilot.manifest import write_atomically
from story.difference import Difference, differences
from story.programs import PYTHON, must_run

TOLERATED_NATS = 0.01
"""Likelihood of other languages' code that a candidate may lose, a token: a hundredth of a nat is 1 % of the
probability of each token, about a tenth of what tuning on Vue wins there."""
LIKELIHOOD = "log_likelihood"


@dataclass(frozen=True)
class Candidate:
    """What one candidate won and lost against the base on the development split, nats a token."""

    name: str
    vue: Difference
    others: Difference
    by_language: dict[str, Difference]

    @property
    def admitted(self) -> bool:
        return self.others.value >= -TOLERATED_NATS


def choose(base: Path, dev: Path, models: Mapping[str, Path], name: str, target: Path) -> None:
    """Registers the best of `models` as `name`, and writes to `target` why it is that one.

    `dev` holds a folder for each, with its runs over the holes; `base` is the base model's.
    """
    candidates = [_measured(base, cell, dev / cell) for cell in models]
    best = best_of(candidates)
    must_run([PYTHON, "scripts/promote_model.py", "add", str(models[best.name]), "--name", name])
    document = {
        "chosen": best.name,
        "admitted": best.admitted,
        "tolerated_nats": TOLERATED_NATS,
        "candidates": [asdict(one) | {"admitted": one.admitted} for one in candidates],
    }
    write_atomically(target, json.dumps(document, indent=2) + "\n")


def best_of(candidates: list[Candidate]) -> Candidate:
    """Of those that lose nothing elsewhere the one that wins most in Vue; if all lose, the one that loses
    least, and the gate will have the last word."""
    admitted = [one for one in candidates if one.admitted]
    if admitted:
        return max(admitted, key=lambda one: one.vue.value)
    return max(candidates, key=lambda one: one.others.value)


def _measured(base: Path, cell: str, folder: Path) -> Candidate:
    vue = differences(base / "vue", folder / "vue", LIKELIHOOD)
    others = differences(base / "others", folder / "others", LIKELIHOOD)
    return Candidate(cell, vue["all"], others["all"], vue | others)
