"""Write and load checkpoints, and write the weights that an export reads. run_folder.py has the layout."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import deepspeed
import torch
from deepspeed import comm
from peft import get_peft_model_state_dict  # pyright: ignore[reportUnknownVariableType]
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from acepilot.disk import explain_full_disk
from acepilot.models.manifest import write_atomically
from finetune.training.config import TrainConfig
from finetune.training.run_folder import RESUME_FILE, STATE_FILE, CheckpointUnusable, ResumePoint, RunState


def load_checkpoint(engine: Any, run: Path, point: ResumePoint) -> None:
    """Load weights and optimizer states into `engine`. Every process must call this.

    Raises CheckpointUnusable when DeepSpeed cannot load the files.
    """
    folder = run / "checkpoints" / point.tag
    try:
        loaded, _ = engine.load_checkpoint(str(folder.parent), tag=point.tag, load_module_strict=False)
    except Exception as error:  # a damaged pickle can raise any exception
        raise CheckpointUnusable(
            f"The checkpoint {folder} is corrupt ({type(error).__name__}: {error}). "
            f"Move {run} away and start again; the weights in {run / 'weights'} can still be exported."
        ) from error
    if loaded is None:
        raise CheckpointUnusable(
            f"DeepSpeed found nothing to load in {folder}. Move {run} away and start again."
        )


def save_checkpoint(engine: Any, run: Path, config: TrainConfig, state: RunState, corpus: str | None) -> None:
    """Write a checkpoint to resume from. Every process must call this. Raises NotEnoughDisk."""
    folder, tag = run / "checkpoints", f"step-{state.step:06d}"
    with _explain_full_disk(folder / tag):
        engine.save_checkpoint(
            str(folder), tag=tag, save_latest=False, exclude_frozen_parameters=config.method == "lora"
        )
    comm.barrier()
    if comm.get_rank() == 0:
        files = {path.name: path.stat().st_size for path in sorted((folder / tag).iterdir())}
        point = ResumePoint(
            tag=tag, world_size=comm.get_world_size(), zero_stage=config.zero.stage,
            corpus_hash=corpus, files=files, state=state,
        )  # fmt: skip
        with _explain_full_disk(folder / tag):
            write_atomically(run / RESUME_FILE, point.model_dump_json(indent=2) + "\n")
        for old in folder.glob("step-*"):  # not `*`: DeepSpeed puts a script beside them
            if old.name != tag:
                shutil.rmtree(old)
    comm.barrier()


def save_weights(engine: Any, run: Path, which: Literal["best", "last"], state: RunState) -> None:
    """Write the trained weights to `weights/<which>`. Every process must call this; the first one writes.

    `state` is stored with the weights, because after a kill resume.json may hold an earlier step's state.
    """
    model: Any = engine.module.model
    is_adapter = hasattr(model, "peft_config")
    weights = _gather(model, trained_only=is_adapter)
    if comm.get_rank() == 0:
        target = run / "weights" / which
        staging = target.with_name(f".{which}.{os.getpid()}.part")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        with _explain_full_disk(staging):
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


def _gather(model: Any, *, trained_only: bool) -> dict[str, torch.Tensor]:
    """Return whole weights by name in the first process's host memory; an empty dict in the other processes.

    Under ZeRO-3 one weight at a time is gathered from all processes.
    """
    weights: dict[str, torch.Tensor] = {}
    is_first = comm.get_rank() == 0
    for name, parameter in model.named_parameters():  # lists tied weights once
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


def _explain_full_disk(unfinished: Path) -> contextlib.AbstractContextManager[None]:
    return explain_full_disk(
        unfinished.parent,
        f"{unfinished.name} was not written; the checkpoint before it is complete. Free some space and start "
        "again: training resumes from that checkpoint.",
        unfinished=unfinished,
    )
