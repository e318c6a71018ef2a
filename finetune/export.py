"""A run's weights made a model that others can open: train.py's end, and a program of its own.

    python -m finetune.export RUN --alpha 0.5 --to FOLDER        halfway between base and tuned
    python -m finetune.export RUN --weights last --gguf Q8_0     for `python -m server --model RUN/model-gguf`

Adapters are merged, full weights interpolated in float32: `base + alpha * (tuned - base)`. A folder appears
whole or not at all: safetensors, tokenizer, manifest.json and a model card.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from acepilot.cli import program
from acepilot.errors import ConfigError, ModelBroken, ModelNotFound
from acepilot.models.manifest import Manifest, Tuning
from acepilot.models.provenance import git_commit
from acepilot.models.resolve import resolve
from finetune.convert.folder import check_overwrites, write_folder
from finetune.convert.forms import convert_model
from finetune.modeling.loss_model import open_adapter
from finetune.modeling.sources import TINY, base_folder
from finetune.training.checkpoint import CONFIG_FILE, RESUME_FILE, STATE_FILE, TOKENIZER, Resumable, RunState
from finetune.training.config import TrainConfig

TOKENIZER_PROBE = "export const add = (a, b) => {\n    return a + b;\n}\n"


@dataclass(frozen=True)
class Exported:
    folder: Path
    gguf_folder: Path | None
    manifest: Manifest


def check_tokenizers(corpus: Path, base: Path) -> None:
    """Raises ConfigError when the corpus was packed with another model's tokenizer."""
    if not (corpus / TOKENIZER).is_dir():
        return
    packed: Any = AutoTokenizer.from_pretrained(str(corpus / TOKENIZER))
    own: Any = AutoTokenizer.from_pretrained(base)
    if packed.encode(TOKENIZER_PROBE) != own.encode(TOKENIZER_PROBE):
        raise ConfigError(
            f"{corpus} was packed with another tokenizer than {base}'s: pack it again with this model's.",
            field="corpus",
        )


def export_run(
    run: Path,
    *,
    weights: Literal["best", "last"] | None = None,
    alpha: float | None = None,
    gguf: Literal["F16", "Q8_0"] | None = None,
    to: Path | None = None,
) -> Exported:
    """What is None is as the run's recipe says. Raises ModelNotFound when `run` holds no weights, ConfigError
    when `to` is a folder of something else."""
    if to:
        check_overwrites(to)
    config, resumable = _read_run(run)
    which = weights or config.export.weights
    share = config.export.alpha if alpha is None else alpha
    kind = gguf or config.export.gguf
    trained = run / "weights" / which
    if not trained.is_dir():
        raise ModelNotFound(
            f"{run} has no weights/{which}: it has not come to its first evaluation or end yet."
        )
    target = to or run / "model"
    tokenizer: Any = AutoTokenizer.from_pretrained(_tokenizer_source(run, config, resumable))
    model = tuned_model(config, trained, share)
    state = _state(trained) or resumable.state
    manifest = _manifest(config, resumable, state, target.name, which, share, model)

    def fill(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    written, _ = write_folder(target, manifest, fill)
    gguf_folder = None
    if kind:
        del model
        gguf_folder = target.with_name(f"{target.name}-gguf")
        convert_model(resolve(str(target)), "gguf", gguf_folder, gguf_type=kind)
    return Exported(target, gguf_folder, written)


def tuned_model(config: TrainConfig, trained: Path, alpha: float) -> Any:
    """The base with the weights of `trained` in it, in the share `alpha`; the tensors are on the host."""
    folder = base_folder(config.model, config.revision)
    try:
        if config.method == "lora":
            # in float32: a small adapter added to half-precision weights would be rounded away
            base: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            dtype = next(iter(load_file(trained / "adapter_model.safetensors").values())).dtype
            adapted: Any = open_adapter(base, trained)
            with torch.no_grad():
                for name, parameter in adapted.named_parameters():
                    if ".lora_B." in name:
                        parameter.mul_(alpha)
            return adapted.merge_and_unload().to(dtype)
        tuned = load_file(trained / "model.safetensors")
        dtype = next(iter(tuned.values())).dtype
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        own = dict(model.named_parameters())
        if set(own) != set(tuned):
            raise ModelBroken(f"{trained} does not fit {config.model}: its weights have other names.")
        with torch.no_grad():
            for name, weight in tuned.items():
                mixed = weight if alpha == 1 else torch.lerp(own[name].float(), weight.float(), alpha)
                own[name].copy_(mixed)
        return model
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelBroken(f"The weights in {trained} cannot be read: {error}") from error


def _read_run(run: Path) -> tuple[TrainConfig, Resumable]:
    try:
        config = TrainConfig.model_validate_json((run / CONFIG_FILE).read_text(encoding="utf-8"))
        resumable = Resumable.model_validate_json((run / RESUME_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelNotFound(f"{run} is no run with a checkpoint: {error.filename} is missing.") from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ModelBroken(f"The notes of the run in {run} are damaged: {error}") from error
    return config, resumable


def _state(trained: Path) -> RunState | None:
    """How far the run was when these weights were saved; None of a run from before that was noted."""
    path = trained / STATE_FILE
    return RunState.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def _tokenizer_source(run: Path, config: TrainConfig, found: Resumable) -> str:
    """The corpus' tokenizer: the base's may lack the sentinels that the corpus was packed with."""
    for folder in (run / TOKENIZER, Path(config.corpus) / TOKENIZER):
        if folder.is_dir():
            return str(folder)
    if found.corpus_hash:
        raise ModelNotFound(
            f"Neither {run} nor {config.corpus} has the tokenizer that the corpus was packed with: "
            f"put that corpus' folder `tokenizer` into {run}."
        )
    return str(base_folder(config.model, config.revision))


def _manifest(
    config: TrainConfig,
    found: Resumable,
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
        data_hash=found.corpus_hash,
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="output folder of a training run")
    parser.add_argument("--weights", choices=("best", "last"))
    parser.add_argument("--alpha", type=float, help="above 0, at most 1")
    parser.add_argument("--gguf", choices=("F16", "Q8_0"))
    parser.add_argument("--to", type=Path, help="folder of the model; left out: RUN/model")
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
