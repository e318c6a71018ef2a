"""When a run is given up: a loss or gradient that is no number, or fp16 that overflows at every step."""

import math

from acepilot.errors import AcepilotError

ADVICE = "Lower learning_rate or clip_norm, lengthen warmup_steps, or use precision=bf16 or fp32"


class TrainingDiverged(AcepilotError):
    """The numbers of a run became useless; the checkpoint before that is whole."""

    code = "training_diverged"
    status = 500


class StabilityGuard:
    """Told the numbers of every step; raises TrainingDiverged when going on is useless."""

    def __init__(self, max_skipped_steps: int) -> None:
        self._most = max_skipped_steps
        self._skipped = 0

    def check(self, step: int, *, loss: float, norm: float, was_skipped: bool) -> None:
        """`norm`: the gradient's, before clipping; `was_skipped`: fp16 overflowed and the weights stayed."""
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"The loss of step {step} is {loss}. {ADVICE}; the last checkpoint is from before."
            )
        self._skipped = self._skipped + 1 if was_skipped else 0
        if self._skipped >= self._most:
            raise TrainingDiverged(
                f"fp16 overflowed in {self._skipped} steps in a row, up to step {step}: the weights do not "
                f"change any more. {ADVICE}."
            )
        if not was_skipped and not math.isfinite(norm):
            raise TrainingDiverged(f"The gradient of step {step} is {norm}. {ADVICE}.")
