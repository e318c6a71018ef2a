"""The difference of two runs over the same holes, with an interval; for choice.py and report.py.

The difference is paired by hole and clustered by file, like the tables. The interval is two-sided, 95 %, as
in docs/holes.md.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval_humaneval.figures.metrics import mean_interval
from eval_humaneval.results import HoleMeasures, Sample, read_samples

LEAST_FILES = 20
"""With fewer files, an interval is a hint and not a proof (docs/holes.md)."""
Measure = Callable[[HoleMeasures], float | None]
MEASURES: Mapping[str, Measure] = {
    "exact_match": lambda hole: 100.0 * hole.exact_match,
    "edit_similarity": lambda hole: 100.0 * hole.edit_similarity,
    "log_likelihood": lambda hole: hole.log_likelihood,
}
"""The first two in points of 100, the last in nats per token of the author's text."""


@dataclass(frozen=True)
class Difference:
    """Candidate minus base: above 0 is better. `files` is the number of clusters."""

    value: float
    low: float
    high: float
    holes: int
    files: int

    @property
    def is_gain(self) -> bool:
        return self.low > 0 and self.files >= LEAST_FILES


def differences(base: Path, candidate: Path, measure: str) -> dict[str, Difference]:
    """Return the difference of two runs by language and for `all`; empty if no hole has the figure in both
    runs.
    """
    before, after = (_figures(read_samples(run), MEASURES[measure]) for run in (base, candidate))
    pairs = [
        (language, cluster, after[hole] - figure)
        for hole, figure in before.items()
        if hole in after
        for language, cluster in [hole[:2]]
    ]
    languages = sorted({language for language, _, _ in pairs})
    groups = {name: [pair for pair in pairs if pair[0] == name] for name in languages} | {"all": pairs}
    return {
        name: _difference([(cluster, value) for _, cluster, value in group])
        for name, group in groups.items()
        if group
    }


def _figures(samples: Iterable[Sample], measure: Measure) -> dict[tuple[str, str, str], float]:
    """Return the figure of each hole's first sample, by language, file and hole."""
    found: dict[tuple[str, str, str], float] = {}
    for sample in samples:
        figure = measure(sample.hole) if sample.hole and sample.index == 0 else None
        if figure is not None:
            found[sample.language, sample.cluster, sample.problem] = figure
    return found


def _difference(values: list[tuple[str, float]]) -> Difference:
    clusters = {name: row for row, name in enumerate(sorted({cluster for cluster, _ in values}))}
    sums, counts = np.zeros((2, len(clusters)))
    for cluster, value in values:
        sums[clusters[cluster]] += value
        counts[clusters[cluster]] += 1
    found = mean_interval(sums, counts)
    return Difference(found.value, found.low, found.high, len(values), len(clusters))
