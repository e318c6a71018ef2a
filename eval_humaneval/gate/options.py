"""The gate's options: margins, the drop that fails, and the chance of a wrong verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from acepilot.errors import ConfigError
from eval_humaneval.gate.statistics import POOL

MAX_SAMPLES = 50
"""Samples per problem up to which the gate adds some unasked. More may not be worth the time."""


@dataclass(frozen=True)
class GateOptions:
    """Margins and `drop_points` are in points of 100. The size of the run sets a margin that is not given.
    `language_margin` is for every language, `language_margins` for single ones. `alpha` is the chance of a
    wrong FAIL, and of a wrong PASS. It covers both interim looks if `enlarge` allows a second one."""

    pool_margin: float | None = None
    language_margin: float | None = None
    language_margins: Mapping[str, float] = field(default_factory=dict[str, float])
    drop_points: float = 1.0
    alpha: float = 0.05
    enlarge: bool = True
    seed: int = 0
    resamples: int = 10_000

    def __post_init__(self) -> None:
        given = {POOL: self.pool_margin, "every language": self.language_margin, **self.language_margins}
        wrong = [
            f"The margin of {name} is {margin:g}: give points above 0, up to 100."
            for name, margin in given.items()
            if margin is not None and not 0 < margin <= 100
        ]
        if not 0 <= self.drop_points < 100:
            wrong.append(f"The drop that fails is {self.drop_points:g}: give points from 0 to below 100.")
        if not 0 < self.alpha < 0.5:
            wrong.append(f"alpha is {self.alpha:g}: give a probability between 0 and 0.5, usually 0.05.")
        if wrong:
            raise ConfigError(" ".join(wrong))

    def given_margin(self, name: str) -> float | None:
        """Return the margin given for a language or POOL, in points."""
        return self.pool_margin if name == POOL else self.language_margins.get(name, self.language_margin)

    def look_alpha(self, *, greedy: bool) -> float:
        """Return the alpha of one look: half if a second look may follow, which greedy runs never need."""
        return self.alpha / 2 if self.enlarge and not greedy else self.alpha
