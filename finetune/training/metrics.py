"""Show a run's progress: lines or a bar on the terminal, curves in TensorBoard or W&B; first process only.

MFU (model FLOPs utilization) is the share of the processors' peak that the model's own arithmetic uses: 6
operations for each weight and token (4 with LoRA, where frozen weights have no gradients), without attention
and recomputation. The peak is the card's published one; for an unknown card it is measured.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from acepilot.cli import text_console
from acepilot.errors import ConfigError
from finetune.training.config import TrainConfig

PEAK_TFLOPS = {"V100": 125, "A100": 312, "H100": 989, "H200": 989, "RTX 4090": 165}
"""Peak of dense float16 with float32 sums, in TFLOPS, from NVIDIA's data sheets."""

PLAIN_EVERY_S = 10.0
"""Seconds between two lines where the output is not a terminal."""


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the peak of one process's processor in operations a second."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        known = next((peak for card, peak in PEAK_TFLOPS.items() if card in name), None)
        if known and dtype != torch.float32:
            return known * 1e12
    side = 4096 if device.type == "cuda" else 768
    left = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        started = time.perf_counter()
        float((left @ left)[0, 0])  # reading a value waits until the device is done
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def peak_memory_gib(device: torch.device) -> float:
    """Return the peak memory of this process so far: of its card, or of the host if there is no card."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class ProgressReporter:
    """Report steps and held-out losses. A context manager; silent in all processes but the first."""

    def __init__(self, config: TrainConfig, *, is_first: bool, flops_a_token: float, peak: float) -> None:
        self._config = config
        self._flops_share = flops_a_token / peak
        self._console = text_console(stderr=True)
        self._console.quiet = not is_first
        self._writer = _writer(config) if is_first else None
        self._bar: Progress | None = None
        if is_first and self._console.is_terminal:
            columns = (
                TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
                BarColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, TextColumn("{task.description}"), console=self._console)
            self._task = self._bar.add_task("", total=config.steps)
        self._since = time.perf_counter()
        self._last_line = 0.0
        self._tokens = 0

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        if self._writer:
            self._writer.close()

    def log(self, line: str) -> None:
        self._console.print(line)

    def reset_clock(self) -> None:
        """Restart the measurement of speed, after an evaluation or a checkpoint."""
        self._since, self._tokens = time.perf_counter(), 0

    def step(
        self, step: int, *, loss: float, rate: float, norm: float, tokens: int, device: torch.device
    ) -> None:
        """Report one step. `tokens` counts the predicted tokens of all processes in this step."""
        self._tokens += tokens
        now = time.perf_counter()
        a_second = self._tokens / (now - self._since)
        mfu = a_second * self._flops_share
        memory = peak_memory_gib(device)
        if self._writer:
            values = {
                "train/loss": loss, "train/learning_rate": rate, "train/gradient_norm": norm,
                "speed/tokens_a_second": a_second, "speed/mfu": mfu, "speed/memory_gib": memory,
            }  # fmt: skip
            self._writer.add(values, step)
        line = f"loss {loss:.4f} · {a_second:,.0f} tokens/s · MFU {mfu:.1%} · {memory:.1f} GiB"
        if self._bar:
            self._bar.update(self._task, completed=step, description=line)
        elif now - self._last_line >= PLAIN_EVERY_S or step in {1, self._config.steps}:
            self._last_line = now
            self.log(f"step {step}/{self._config.steps} · {line} · rate {rate:.2e}")

    def held_out(self, step: int, losses: dict[str, float]) -> None:
        if self._writer:
            self._writer.add({f"heldout/{language}": loss for language, loss in losses.items()}, step)
        listed = " · ".join(f"{language} {loss:.4f}" for language, loss in losses.items())
        self.log(f"step {step} · held out: {listed}")


@dataclass(frozen=True)
class _Writer:
    """TensorBoard or W&B. `add` takes values by name, and the step."""

    add: Callable[[dict[str, float], int], None]
    close: Callable[[], None]


def _writer(config: TrainConfig) -> _Writer | None:
    if config.report == "none":
        return None
    if config.report == "wandb":
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ConfigError("report=wandb needs the package: pip install wandb", field="report") from error
        settings = config.model_dump(mode="json")
        run = cast("Any", wandb).init(name=config.name or config.output.name, config=settings)
        return _Writer(lambda values, step: run.log(values, step=step), run.finish)
    from torch.utils.tensorboard.writer import SummaryWriter

    board = SummaryWriter(str(config.output / "tensorboard"))

    def add(values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            board.add_scalar(name, value, step)

    return _Writer(add, board.close)
