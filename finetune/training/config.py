"""The keys of a recipe (a YAML file, with `key=value` overrides from the command line), read for train.py.

Unknown keys are refused, and all mistakes are reported at once, before anything is loaded.
"""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from acepilot.errors import ConfigError

CONFIGS = Path(__file__).parents[1] / "configs"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LoraOptions(_Section):
    r: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    targets: list[str] | None = Field(default=None, description="null: every projection of a block.")


class ZeroOptions(_Section):
    stage: Literal[0, 1, 2, 3] = 2
    offload_optimizer: bool = False
    offload_params: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.offload_params and self.stage != 3:
            raise ValueError("offload_params needs stage: 3")
        if self.offload_optimizer and self.stage == 0:
            raise ValueError("offload_optimizer needs stage: 1, 2 or 3")
        return self


class ExportOptions(_Section):
    weights: Literal["best", "last"] = "best"
    alpha: float = Field(default=1.0, gt=0, le=1, description="base + alpha * (tuned - base).")
    gguf: Literal["F16", "Q8_0"] | None = Field(
        default=None, description="Also write a GGUF, for the `openvino` engine."
    )


class TrainConfig(_Section):
    """A whole recipe."""

    # Input and output
    model: str = Field(
        description="A name in the registry, `current`, a folder, a .gguf file or a hub id (OWNER/NAME); or "
        "`tiny` (random weights, for tests)."
    )
    revision: str | None = Field(
        default=None, description="Commit of a hub model. Set it, so that the base cannot change."
    )
    corpus: str = Field(
        description="Folder that `python -m finetune.corpus` wrote, or `tiny`: this repository's own code."
    )
    output: Path
    name: str | None = Field(
        default=None, description="Name of the tuned model; null: the name of the output folder."
    )
    method: Literal["full", "lora"] = "full"
    lora: LoraOptions = LoraOptions()

    # Tokens in a step: sequence_tokens * micro_batch * accumulation * processes
    sequence_tokens: int = Field(default=2048, ge=8, description="Packed rows are cut to this length.")
    micro_batch: int = Field(default=1, ge=1)
    accumulation: int = Field(default=1, ge=1)
    steps: int = Field(ge=1)

    # Optimizer. 1e-5 suits full tuning of a trained model; LoRA needs about ten times that.
    learning_rate: float = Field(default=1e-5, gt=0)
    warmup_steps: int = Field(default=20, ge=0)
    final_rate_ratio: float = Field(
        default=0.1, ge=0, le=1, description="Last learning rate, as a share of the first."
    )
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = Field(
        default=(0.9, 0.95),
        description="With 0.95 Adam forgets a loss spike sooner than with the usual 0.999.",
    )
    clip_norm: float = Field(default=1.0, gt=0)
    seed: int = 1

    # Memory and speed
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        default="auto", description="auto: bf16 if the card has it, else fp16; fp32 on a CPU."
    )
    zero: ZeroOptions = ZeroOptions()
    checkpointing: bool = Field(
        default=True,
        description="Recompute activations in the backward pass: a third more time, far less memory.",
    )
    torch_adam: bool | None = Field(
        default=None,
        description="true: torch's Adam. false: DeepSpeed's, compiled at the first start. null: false only "
        "for an offloaded optimizer on CUDA.",
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads of each process; null: torch's default."
    )
    cards: int = Field(default=1, ge=1, description="Number of cards that --dry-run plans for.")

    # Evaluation, checkpoints and export
    eval_every: int = Field(default=50, ge=1, description="Steps between two held-out losses.")
    eval_rows: int = Field(default=64, ge=1, description="Held-out rows of each language.")
    patience: int | None = Field(
        default=None, ge=1, description="Stop after this many held-out losses in a row without a new best."
    )
    watch: str = Field(
        default="all",
        description="Language whose held-out loss selects the best weights; `all`: the mean over tokens.",
    )
    save_every: int = Field(default=200, ge=1, description="Steps between two checkpoints to resume from.")
    max_skipped_steps: int = Field(
        default=20, ge=1, description="fp16: stop after this many overflows in a row."
    )
    report: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    export: ExportOptions = ExportOptions()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be below steps ({self.steps})")
        return self


def load_config(path: Path, overrides: list[str]) -> TrainConfig:
    """Read the recipe at `path` and apply each `dotted.key=value`. Raises ConfigError with all mistakes."""
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
        raise ConfigError(f"There is no recipe {path}. finetune/configs has: {known}.") from error
    except RecursionError as error:
        raise ConfigError(f"{path} cannot be read as YAML: it is nested too deeply.") from error
    except (OSError, ValueError, yaml.YAMLError) as error:  # a ValueError also for the date 2001-99-99
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must have `key: value` lines.")
    mistakes = [mistake for text in overrides if (mistake := _override(document, text))]  # pyright: ignore[reportUnknownArgumentType]
    try:
        config = TrainConfig.model_validate(document)
    except ValidationError as error:
        mistakes += [
            f"{'.'.join(str(part) for part in item['loc']) or 'recipe'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        config = None
    if mistakes or config is None:
        raise ConfigError(
            f"{path} (with the overrides of the command line) is wrong:\n  " + "\n  ".join(mistakes)
        )
    return config


def _override(document: dict[str, Any], text: str) -> str | None:
    """Set one `dotted.key=value` (the value in YAML) in `document`; return what is wrong with `text`."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        return f"{text}: write key=value, e.g. zero.stage=3"
    *parents, last = key.split(".")
    for parent in parents:
        inner = document.setdefault(parent, {})
        if not isinstance(inner, dict):
            return f"{text}: `{parent}` is not a group of keys"
        document = inner  # pyright: ignore[reportUnknownVariableType]
    try:
        document[last] = _as_number(yaml.safe_load(value))
    except (ValueError, RecursionError, yaml.YAMLError):
        return f"{text}: the value is not valid YAML"
    return None


def _as_number(value: Any) -> Any:
    """Return the number if `value` is text like 1e-4, which YAML reads as text because it has no dot."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return value
