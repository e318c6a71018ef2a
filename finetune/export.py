"""Export a run: make its trained weights a model folder. train.py does this at its end.

    python -m finetune.export RUN --alpha 0.5 --to FOLDER        halfway between base and tuned
    python -m finetune.export RUN --weights last --gguf Q8_0     for `python -m server --model RUN/model-gguf`

The weights are base + alpha * (tuned - base), computed in float32. The folder has safetensors, the tokenizer,
manifest.json and a model card; a failed export leaves no folder.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from transformers import AutoTokenizer

from acepilot.cli import program
from acepilot.errors import ConfigError, ModelBroken, ModelNotFound
from acepilot.models.manifest import Manifest, Tuning
from acepilot.models.provenance import git_commit
from acepilot.models.resolve import resolve
from finetune.convert.folder import check_overwrites, write_folder
from finetune.convert.forms import convert_model
from finetune.modeling.base_model import TINY, base_folder
from finetune.modeling.merge import merged_model
from finetune.training.config import TrainConfig
from finetune.training.run_folder import (
    CONFIG_FILE,
    RESUME_FILE,
    STATE_FILE,
    TOKENIZER,
    ResumePoint,
    RunState,
)


@dataclass(frozen=True)
class Exported:
    """The folders that an export wrote."""

    folder: Path
    gguf_folder: Path | None


def export_run(
    run: Path,
    *,
    weights: Literal["best", "last"] | None = None,
    alpha: float | None = None,
    gguf: Literal["F16", "Q8_0"] | None = None,
    to: Path | None = None,
) -> Exported:
    """Write the model folder `to`, by default RUN/model. For a None, the run's recipe decides.

    Raises ModelNotFound when `run` has no weights, and ConfigError when `to` holds something else than a
    model.
    """
    if to:
        check_overwrites(to)
    config, point = _read_run(run)
    which = weights or config.export.weights
    share = config.export.alpha if alpha is None else alpha
    kind = gguf or config.export.gguf
    trained = run / "weights" / which
    if not trained.is_dir():
        raise ModelNotFound(
            f"{run} has no weights/{which}: the run has not reached its first evaluation or its end. Let it "
            "go on."
        )
    target = to or run / "model"
    tokenizer = _tokenizer_folder(run, config, point)
    model = merged_model(config, trained, share)
    state = _state(trained) or point.state
    manifest = _manifest(config, point, state, target.name, which, share, model)

    def fill(folder: Path) -> None:
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False).save_pretrained(folder)

    write_folder(target, manifest, fill)
    gguf_folder = None
    if kind:
        del model
        gguf_folder = target.with_name(f"{target.name}-gguf")
        convert_model(resolve(str(target)), "gguf", gguf_folder, gguf_type=kind)
    return Exported(target, gguf_folder)


def _read_run(run: Path) -> tuple[TrainConfig, ResumePoint]:
    try:
        config = TrainConfig.model_validate_json((run / CONFIG_FILE).read_text(encoding="utf-8"))
        point = ResumePoint.model_validate_json((run / RESUME_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelNotFound(f"{run} is not a run with a checkpoint: {error.filename} is missing.") from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ModelBroken(f"{CONFIG_FILE} or {RESUME_FILE} in {run} is damaged: {error}") from error
    return config, point


def _state(trained: Path) -> RunState | None:
    """Return the run's state when these weights were saved; None in an old run without state.json."""
    path = trained / STATE_FILE
    return RunState.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def _tokenizer_folder(run: Path, config: TrainConfig, point: ResumePoint) -> str:
    """Return the folder of the corpus's tokenizer: the base's may lack the sentinels of the packed rows."""
    for folder in (run / TOKENIZER, Path(config.corpus) / TOKENIZER):
        if folder.is_dir():
            return str(folder)
    if point.corpus_hash:
        raise ModelNotFound(
            f"Neither {run} nor {config.corpus} has the tokenizer that the corpus was packed with: "
            f"copy the corpus's folder `tokenizer` into {run}."
        )
    return str(base_folder(config.model, config.revision))


def _manifest(
    config: TrainConfig,
    point: ResumePoint,
    state: RunState,
    name: str,
    which: Literal["best", "last"],
    alpha: float,
    model: Any,
) -> Manifest:
    base, licence = _published_base(config)
    return Manifest(
        id=config.name or (config.output.name if name == "model" else name),
        format="safetensors",
        files={},
        base=base,
        licence=licence,
        dtype=str(model.dtype).removeprefix("torch."),
        context_tokens=int(getattr(model.config, "max_position_embeddings", config.sequence_tokens)),
        data_hash=point.corpus_hash,
        tuning=Tuning(
            method=config.method,
            base_revision=config.revision,
            alpha=alpha,
            weights=which,
            step=state.best_step if which == "best" else state.step,
            tokens=state.tokens,
            heldout_loss_before=state.first_losses,
            heldout_loss_after=state.best_losses if which == "best" else state.last_losses,
            config=config.model_dump(mode="json"),
            git_commit=git_commit(),
        ),
    )


def _published_base(config: TrainConfig) -> tuple[str, str]:
    """Return the name and the licence of the published model that the run goes back to."""
    manifest = None if config.model == TINY else resolve(config.model, config.revision).manifest
    if manifest:
        return manifest.base, manifest.licence
    is_codegen = config.model.startswith("Salesforce/codegen-")
    return config.model, "BSD-3-Clause" if is_codegen else "as the base model's"


@program()
def main() -> int:
    parser = ArgumentParser(
        prog="python -m finetune.export", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="the output folder of a training run")
    parser.add_argument("--weights", choices=("best", "last"), help="default: as the run's recipe says")
    parser.add_argument("--alpha", type=float, help="share of the way from base to tuned, above 0, at most 1")
    parser.add_argument("--gguf", choices=("F16", "Q8_0"), help="also write a GGUF into FOLDER-gguf")
    parser.add_argument("--to", type=Path, help="folder of the model (default: RUN/model)")
    given = parser.parse_args()
    if given.alpha is not None and not 0 < given.alpha <= 1:
        raise ConfigError("--alpha must be above 0 and at most 1.")
    exported = export_run(given.run, weights=given.weights, alpha=given.alpha, gguf=given.gguf, to=given.to)
    print(f"The model is in {exported.folder}", file=sys.stderr)
    if exported.gguf_folder:
        print(f"Serve it: python -m server --model {exported.gguf_folder}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
