"""Stop a run that diverged: the loss or the gradient is not finite, or fp16 overflows at every step."""

import math

from acepilot.errors import AcepilotError

ADVICE = "Lower learning_rate or clip_norm, lengthen warmup_steps, or use precision=bf16 or fp32"


class TrainingDiverged(AcepilotError):
    """The loss, the gradient or fp16's scale became useless; the last checkpoint is from before that."""

    code = "training_diverged"
    status = 500


class StabilityGuard:
    """Check the numbers of every step, and raise TrainingDiverged when training cannot recover."""

    def __init__(self, max_skipped_steps: int) -> None:
        self._max_skipped_steps = max_skipped_steps
        self._skipped = 0

    def check(self, step: int, *, loss: float, norm: float, was_skipped: bool) -> None:
        """Take the loss, the gradient's norm before clipping, and whether fp16 overflowed in this step."""
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"The loss of step {step} is {loss}. {ADVICE}; the last checkpoint is from before."
            )
        self._skipped = self._skipped + 1 if was_skipped else 0
        if self._skipped >= self._max_skipped_steps:
            raise TrainingDiverged(
                f"fp16 overflowed in {self._skipped} steps in a row, up to step {step}: the weights no "
                f"longer change. {ADVICE}."
            )
        if not was_skipped and not math.isfinite(norm):
            raise TrainingDiverged(f"The gradient of step {step} is {norm}. {ADVICE}.")
