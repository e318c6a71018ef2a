"""Print the planner's tables: what a recipe needs, and which settings fit which cards; for `--dry-run`."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from finetune.modeling.base_model import model_config
from finetune.planner.cuda_check import cuda_notes, cuda_support
from finetune.planner.memory import (
    GIB,
    Activations,
    ModelSize,
    activations,
    card_bytes,
    disk_bytes,
    model_size,
    model_states,
)
from finetune.training.config import TrainConfig, ZeroOptions

NAMED_CARDS = {"V100-32": 32, "A100-80": 80, "H100-80": 80, "RTX 4090": 24}
"""Cards to plan for, with their GiB of memory."""
CARD_COUNTS = (1, 2, 4, 8)
CARDS_A_HOST = 8  # in the usual largest server


@dataclass(frozen=True)
class Way:
    """The settings that trade speed for memory. WAYS lists them from the fastest to the slowest."""

    zero: ZeroOptions
    checkpointing: bool

    @property
    def name(self) -> str:
        parts = [f"ZeRO-{self.zero.stage}"]
        parts += ["optimizer on host"] * self.zero.offload_optimizer
        parts += ["weights on host"] * self.zero.offload_params
        return ", ".join(parts) + ("" if self.checkpointing else ", no checkpointing")

    @property
    def overrides(self) -> str:
        given = [f"zero.stage={self.zero.stage}"]
        given += ["zero.offload_optimizer=true"] * self.zero.offload_optimizer
        given += ["zero.offload_params=true"] * self.zero.offload_params
        return " ".join([*given, f"checkpointing={str(self.checkpointing).lower()}"])


WAYS = (
    Way(ZeroOptions(stage=0), checkpointing=False),
    Way(ZeroOptions(stage=0), checkpointing=True),
    Way(ZeroOptions(stage=1), checkpointing=True),
    Way(ZeroOptions(stage=2), checkpointing=True),
    Way(ZeroOptions(stage=3), checkpointing=True),
    Way(ZeroOptions(stage=2, offload_optimizer=True), checkpointing=True),
    Way(ZeroOptions(stage=3, offload_optimizer=True), checkpointing=True),
    Way(ZeroOptions(stage=3, offload_optimizer=True, offload_params=True), checkpointing=True),
)


@dataclass(frozen=True)
class Need:
    """GiB that a way needs on each card and on each host."""

    way: Way
    cards: int
    card_gib: float
    host_gib: float


def needs(config: TrainConfig, size: ModelSize, kept: Activations, cards: int) -> Iterator[Need]:
    """Yield the need of each way on this number of cards."""
    half = config.precision != "fp32"
    for way in WAYS:
        states = model_states(size, way.zero, cards=cards, cards_a_host=min(cards, CARDS_A_HOST), half=half)
        used = card_bytes(states, kept, config, checkpointing=way.checkpointing)
        yield Need(way, cards, used / GIB, states.host / GIB)


def cheapest(config: TrainConfig, size: ModelSize, kept: Activations, card_gib: float) -> Need | None:
    """Return the fewest cards of `card_gib` that can run the recipe, and how; None if 8 are too few."""
    plans = (need for cards in CARD_COUNTS for need in needs(config, size, kept, cards))
    return next((need for need in plans if need.card_gib <= card_gib), None)


def print_plan(config: TrainConfig, console: Console) -> None:
    """Print the plan on `console`, a `text_console`. Loads no weights, but converts a starter once."""
    model = model_config(config.model, config.revision)
    size = model_size(model, config)
    kept = activations(model, config)
    half = config.precision != "fp32"
    tokens = config.sequence_tokens * config.micro_batch * config.accumulation * config.cards
    console.print(config.model, style="bold", end="")
    console.print(
        f", {config.method}: {size.total:,} weights, {size.trained:,} of them "
        f"trained ({size.trained / size.total:.2%}). {tokens:,} tokens a step, "
        f"{tokens * config.steps / 1e6:,.1f} million in all."
    )
    console.print(
        f"Activations of a row of {config.sequence_tokens} tokens: {kept.block / 2**20:,.0f} MiB a block, "
        f"{kept.checkpointed_block / 2**20:,.0f} MiB checkpointed; "
        f"{kept.peak(checkpointing=False) / GIB:,.1f} GiB in all without checkpointing, "
        f"{kept.peak(checkpointing=True) / GIB:,.1f} GiB with it."
    )
    console.print(f"Disk in {config.output}: {disk_bytes(size, half=half) / GIB:,.0f} GiB at most.", end=" ")
    free, memory = _free_gib(config.output), psutil.virtual_memory().total / GIB
    console.print(f"This machine has {free:,.0f} GiB free there, and {memory:,.0f} GiB of memory.\n")
    _needs_table(config, size, kept, console)
    _fits_table(config, size, kept, console)
    for note in cuda_notes(cuda_support()):
        console.print(note)


def _needs_table(config: TrainConfig, size: ModelSize, kept: Activations, console: Console) -> None:
    table = Table(title=f"GiB needed on each of {config.cards} card(s) and on the host", title_justify="left")
    table.add_column("way")
    for heading in ("card", "host"):
        table.add_column(heading, justify="right")
    table.add_column("fits")
    for need in needs(config, size, kept, config.cards):
        fitting = [name for name, gib in _cards().items() if need.card_gib <= gib]
        is_recipe = need.way.zero == config.zero and need.way.checkpointing == config.checkpointing
        name = Text(f"{need.way.name} (this recipe)", "bold") if is_recipe else need.way.name
        table.add_row(name, f"{need.card_gib:,.1f}", f"{need.host_gib:,.1f}", ", ".join(fitting) or "none")
    console.print(table)


def _fits_table(config: TrainConfig, size: ModelSize, kept: Activations, console: Console) -> None:
    table = Table(title="The fewest cards of each kind, and the fastest way on them", title_justify="left")
    for heading in ("card", "number", "way", "overrides"):
        table.add_column(heading, overflow="fold")
    for name, gib in _cards().items():
        need = cheapest(config, size, kept, gib)
        if need is None:
            advice = "method=lora" if config.method == "full" else ""
            table.add_row(name, "-", "does not fit on eight", advice)
        else:
            way = f"{need.way.name} ({need.card_gib:,.1f} GiB, host {need.host_gib:,.0f})"
            table.add_row(name, str(need.cards), way, need.way.overrides)
    console.print(table)


def _cards() -> dict[str, float]:
    """Return this machine's cards, then the named ones, with their GiB."""
    here: dict[str, float] = {}
    for index in range(torch.cuda.device_count()):
        properties: Any = torch.cuda.get_device_properties(index)  # pyright: ignore[reportUnknownVariableType]
        here[f"{properties.name} (here)"] = properties.total_memory / GIB
    return here | {name: float(gib) for name, gib in NAMED_CARDS.items()}


def _free_gib(folder: Path) -> float:
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free / GIB
