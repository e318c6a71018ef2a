"""What a run leaves on disk so that it can go on after a kill, and the weights that export reads.

    RUN/
    ├── config.json          the recipe as it ran
    ├── tokenizer/           the corpus' one, with sentinels that the base's may lack
    ├── losses.jsonl         the training loss of every step
    ├── resume.json          which checkpoint is whole, and what it belongs to: written last, in one step
    ├── checkpoints/step-N/  DeepSpeed's parts, one a process
    └── weights/best, last/  safetensors: all weights, or the adapter as peft writes it; and state.json, how
                             far the run was then

A kill at any moment leaves the previous checkpoint whole: the older one goes only after the new one is named.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import deepspeed
import torch
from deepspeed import comm
from peft import get_peft_model_state_dict
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save_file

from acepilot.disk import explain_full_disk
from acepilot.errors import AcepilotError
from acepilot.models.manifest import write_atomically
from finetune.training.config import TrainConfig

RESUME_FILE = "resume.json"
CONFIG_FILE = "config.json"
TOKENIZER = "tokenizer"
STATE_FILE = "state.json"
LOSSES_FILE = "losses.jsonl"
FREE = {
    "output", "name", "eval_every", "eval_rows", "save_every", "patience", "watch", "report", "threads",
    "cards", "max_skipped_steps", "export", "zero",
}  # fmt: skip
"""Keys that may change between a kill and the resumption: the losses stay what they would have been.
`zero` is not free, but has its own sentence."""


class CheckpointUnusable(AcepilotError):
    """A run cannot go on from what is in its folder."""

    code = "checkpoint_unusable"
    status = 409


class RunState(BaseModel):
    """All that a run carries from step to step besides weights and optimizer."""

    model_config = ConfigDict(extra="forbid")

    step: int = 0
    first_losses: dict[str, float] = {}
    last_losses: dict[str, float] = {}
    best_losses: dict[str, float] = {}
    best_step: int = 0
    evaluations_since_best: int = 0
    tokens: int = 0
    finished: bool = False


class Resumable(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tag: str
    world_size: int
    zero_stage: int
    corpus_hash: str | None
    files: dict[str, int]
    state: RunState


def find_resumable(run: Path, config: TrainConfig, world_size: int, corpus: str | None) -> Resumable | None:
    """The run's whole checkpoint, None for a new run. Raises CheckpointUnusable when it is not this run's."""
    path = run / RESUME_FILE
    if not path.is_file():
        return None
    try:
        found = Resumable.model_validate_json(path.read_text(encoding="utf-8"))
        before = TrainConfig.model_validate_json((run / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise CheckpointUnusable(
            f"{path} or {CONFIG_FILE} is damaged: move the folder {run} away and start again. {error}"
        ) from error
    way_out = (
        "Start it as it was, or make its weights a model (python -m finetune.export "
        f"{run} --weights last --to FOLDER) and tune that in another output folder (model=FOLDER)."
    )
    if found.world_size != world_size:
        raise CheckpointUnusable(
            f"The run in {run} was made by {found.world_size} process(es) and this start has {world_size}: "
            f"its optimizer states are split for {found.world_size}. {way_out}"
        )
    if found.zero_stage != config.zero.stage:
        raise CheckpointUnusable(
            f"The run in {run} was made with zero.stage={found.zero_stage} and this start says "
            f"{config.zero.stage}: its optimizer states have another layout. {way_out}"
        )
    now, then = config.model_dump(exclude=FREE), before.model_dump(exclude=FREE)
    changed = [f"{key} ({then[key]} then, {now[key]} now)" for key in now if now[key] != then[key]]
    if found.corpus_hash != corpus:
        changed.append("the corpus' content")
    if changed:
        raise CheckpointUnusable(
            f"The run in {run} had another recipe: {', '.join(changed)}. Start it as it was, or give another "
            "output=FOLDER."
        )
    for name, size in found.files.items():
        file = run / "checkpoints" / found.tag / name
        if not file.is_file() or file.stat().st_size != size:
            raise CheckpointUnusable(
                f"{file} is missing or has another size than when it was written: the checkpoint is corrupt. "
                f"Move {run} away and start again; the weights in {run / 'weights'} can still be exported."
            )
    return found


def restore(engine: Any, run: Path, found: Resumable) -> None:
    """Weights and optimizer states of `found` into `engine`; every process calls it."""
    try:
        loaded, _ = engine.load_checkpoint(str(run / "checkpoints"), tag=found.tag, load_module_strict=False)
    except Exception as error:  # damaged pickles raise nearly anything
        raise CheckpointUnusable(
            f"The checkpoint {run / 'checkpoints' / found.tag} is corrupt ({type(error).__name__}: {error}). "
            f"Move {run} away and start again; the weights in {run / 'weights'} can still be exported."
        ) from error
    if loaded is None:
        raise CheckpointUnusable(f"DeepSpeed found nothing to load in {run / 'checkpoints' / found.tag}.")


def note_recipe(run: Path, config: TrainConfig, corpus: Path) -> None:
    """What export reads beside the weights: a resumed run may differ in `FREE` keys, and by the time of an
    export the corpus may be gone."""
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(run / CONFIG_FILE, config.model_dump_json(indent=2) + "\n")
    if (corpus / TOKENIZER).is_dir():
        shutil.copytree(corpus / TOKENIZER, run / TOKENIZER, dirs_exist_ok=True)


def start_loss_log(run: Path, step: int) -> None:
    """Drops the lines of steps that will be run again: after a kill the log is ahead of the checkpoint."""
    path = run / LOSSES_FILE
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    write_atomically(path, "".join(lines[:step]))


def log_loss(run: Path, step: int, loss: float) -> None:
    """One line a step: a resumed run can be compared with an uninterrupted one to the last digit."""
    with (run / LOSSES_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "loss": loss}) + "\n")


def save(engine: Any, run: Path, config: TrainConfig, state: RunState, corpus: str | None) -> None:
    """A checkpoint to resume from; every process calls it. Raises NotEnoughDisk before or at the writing."""
    folder, tag = run / "checkpoints", f"step-{state.step:06d}"
    with _full_disk_told(folder / tag):
        engine.save_checkpoint(
            str(folder), tag=tag, save_latest=False, exclude_frozen_parameters=config.method == "lora"
        )
    comm.barrier()
    if comm.get_rank() == 0:
        files = {path.name: path.stat().st_size for path in sorted((folder / tag).iterdir())}
        resumable = Resumable(
            tag=tag, world_size=comm.get_world_size(), zero_stage=config.zero.stage,
            corpus_hash=corpus, files=files, state=state,
        )  # fmt: skip
        with _full_disk_told(folder / tag):
            write_atomically(run / RESUME_FILE, resumable.model_dump_json(indent=2) + "\n")
        for old in folder.glob("step-*"):  # DeepSpeed leaves a script beside them
            if old.name != tag:
                shutil.rmtree(old)
    comm.barrier()


def save_weights(engine: Any, run: Path, which: Literal["best", "last"], state: RunState) -> None:
    """The trained weights, whole, under `weights/<which>`; every process calls it, the first one writes.

    `state` goes with them: after a kill that of the checkpoint is an older one.
    """
    model: Any = engine.module.model
    is_adapter = hasattr(model, "peft_config")
    weights = _gathered(model, trained_only=is_adapter)
    if comm.get_rank() == 0:
        target = run / "weights" / which
        staging = target.with_name(f".{which}.{os.getpid()}.part")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        with _full_disk_told(staging):
            if is_adapter:
                with_names = get_peft_model_state_dict(model, state_dict=weights)
                save_file(with_names, staging / "adapter_model.safetensors", {"format": "pt"})
                model.peft_config["default"].save_pretrained(staging)
            else:
                save_file(weights, staging / "model.safetensors", {"format": "pt"})
            write_atomically(staging / STATE_FILE, state.model_dump_json(indent=2) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
    comm.barrier()


def _gathered(model: Any, *, trained_only: bool) -> dict[str, torch.Tensor]:
    """Whole weights by name on the first process' host memory, one at a time; empty on the others."""
    weights: dict[str, torch.Tensor] = {}
    is_first = comm.get_rank() == 0
    for name, parameter in model.named_parameters():  # tied weights come once
        if trained_only and not parameter.requires_grad:
            continue
        with (
            deepspeed.zero.GatheredParameters([parameter])
            if hasattr(parameter, "ds_id")
            else contextlib.nullcontext()
        ):
            if is_first:
                weights[name] = parameter.detach().to("cpu", copy=True).contiguous()
    return weights


def _full_disk_told(unfinished: Path) -> contextlib.AbstractContextManager[None]:
    return explain_full_disk(
        unfinished.parent,
        f"{unfinished.name} was not written, the checkpoint before it is whole. Free some space and start "
        "again: it goes on from there.",
        unfinished=unfinished,
    )
