"""Turn a training run's losses into one line of an SVG, for report.html."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 140
SMOOTHED_STEPS = 10


@dataclass(frozen=True)
class Curve:
    """A polyline of WIDTH by HEIGHT. `first` and `last` are smoothed losses in nats."""

    points: str
    first: float
    last: float
    steps: int


def curve(losses: Sequence[float]) -> Curve:
    """Smooth each loss over the last SMOOTHED_STEPS steps, since one batch's loss is noisy."""
    smooth = [
        sum(losses[max(0, at - SMOOTHED_STEPS + 1) : at + 1]) / min(at + 1, SMOOTHED_STEPS)
        for at in range(len(losses))
    ]
    low, high = min(smooth), max(smooth)
    spread = (high - low) or 1.0
    across = WIDTH / max(len(smooth) - 1, 1)
    points = " ".join(
        f"{at * across:.1f},{HEIGHT - (loss - low) / spread * HEIGHT:.1f}" for at, loss in enumerate(smooth)
    )
    return Curve(points, smooth[0], smooth[-1], len(smooth))
