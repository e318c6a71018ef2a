"""The folder of a run, except for the weights: what it holds, and whether a new start may resume it.

    RUN/
    ├── config.json          the recipe of the last start
    ├── tokenizer/           the corpus's tokenizer, with sentinels that the base model's may lack
    ├── losses.jsonl         the training loss of every step
    ├── resume.json          names the complete checkpoint; replaced atomically after each checkpoint
    ├── checkpoints/step-N/  DeepSpeed's files, one for each process
    └── weights/best, last/  safetensors (all weights, or the adapter in peft's format) and state.json

A kill at any moment leaves a complete checkpoint: the old one is deleted only after resume.json names the new
one. checkpoint.py writes checkpoints and weights.
"""

import json
import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from acepilot.errors import AcepilotError
from acepilot.models.manifest import write_atomically
from finetune.training.config import TrainConfig

RESUME_FILE = "resume.json"
CONFIG_FILE = "config.json"
TOKENIZER = "tokenizer"
STATE_FILE = "state.json"
LOSSES_FILE = "losses.jsonl"
MAY_CHANGE = {
    "output", "name", "eval_every", "eval_rows", "save_every", "patience", "watch", "report", "threads",
    "cards", "max_skipped_steps", "export", "zero",
}  # fmt: skip
"""Recipe keys that a resumed run may change, because they do not change the losses.

`zero.stage` must stay too, but `find_resume_point` checks it apart, to give its own reason.
"""


class CheckpointUnusable(AcepilotError):
    """The run cannot resume from its folder."""

    code = "checkpoint_unusable"
    status = 409


class RunState(BaseModel):
    """What a run carries from step to step besides weights and optimizer. Losses are in nats a token."""

    model_config = ConfigDict(extra="forbid")

    step: int = 0
    first_losses: dict[str, float] = {}
    last_losses: dict[str, float] = {}
    best_losses: dict[str, float] = {}
    best_step: int = 0
    evaluations_since_best: int = 0
    tokens: int = 0
    finished: bool = False


class ResumePoint(BaseModel):
    """The content of resume.json. `files` has the size in bytes of each file of the checkpoint `tag`."""

    model_config = ConfigDict(extra="forbid")

    tag: str
    world_size: int
    zero_stage: int
    corpus_hash: str | None
    files: dict[str, int]
    state: RunState


def find_resume_point(
    run: Path, config: TrainConfig, world_size: int, corpus: str | None
) -> ResumePoint | None:
    """Return the complete checkpoint in `run`, or None for a new run.

    Raises CheckpointUnusable when the checkpoint is damaged or belongs to another recipe.
    """
    path = run / RESUME_FILE
    if not path.is_file():
        return None
    try:
        found = ResumePoint.model_validate_json(path.read_text(encoding="utf-8"))
        before = TrainConfig.model_validate_json((run / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise CheckpointUnusable(
            f"{path} or {CONFIG_FILE} is damaged: move the folder {run} away and start again. {error}"
        ) from error
    way_out = (
        "Start it as before, or export its weights (python -m finetune.export "
        f"{run} --weights last --to FOLDER) and tune that model in another output folder (model=FOLDER)."
    )
    if found.world_size != world_size:
        raise CheckpointUnusable(
            f"The run in {run} was made by {found.world_size} process(es) and this start has {world_size}: "
            f"its optimizer states are split for {found.world_size}. {way_out}"
        )
    if found.zero_stage != config.zero.stage:
        raise CheckpointUnusable(
            f"The run in {run} was made with zero.stage={found.zero_stage} and this start has zero.stage="
            f"{config.zero.stage}: its optimizer states have another layout. {way_out}"
        )
    now, then = config.model_dump(exclude=MAY_CHANGE), before.model_dump(exclude=MAY_CHANGE)
    changed = [f"{key} ({then[key]} then, {now[key]} now)" for key in now if now[key] != then[key]]
    if found.corpus_hash != corpus:
        changed.append("the corpus's content")
    if changed:
        raise CheckpointUnusable(
            f"The run in {run} had another recipe: {', '.join(changed)}. Start it as before, or set another "
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


def write_recipe(run: Path, config: TrainConfig, corpus: Path) -> None:
    """Write the recipe and the corpus's tokenizer, which an export needs when the corpus may be gone."""
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(run / CONFIG_FILE, config.model_dump_json(indent=2) + "\n")
    if (corpus / TOKENIZER).is_dir():
        shutil.copytree(corpus / TOKENIZER, run / TOKENIZER, dirs_exist_ok=True)


def truncate_loss_log(run: Path, step: int) -> None:
    """Keep the losses of the first `step` steps: after a kill the log is ahead of the checkpoint."""
    path = run / LOSSES_FILE
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    write_atomically(path, "".join(lines[:step]))


def log_loss(run: Path, step: int, loss: float) -> None:
    """Append one line with every digit, so that a resumed run can be compared with an uninterrupted one."""
    with (run / LOSSES_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "loss": loss}) + "\n")
