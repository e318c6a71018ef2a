"""What a training run is asked to do: a recipe in YAML, then `key=value` from the command line; for train.py.

Every key has a reason beside it where its default is not obvious. Unknown keys are refused, and all mistakes
are told at once, before anything is loaded.
"""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from acepilot.errors import ConfigError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LoraOptions(_Part):
    r: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    targets: list[str] | None = Field(default=None, description="null: every projection of the family.")


class ZeroOptions(_Part):
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


class ExportOptions(_Part):
    weights: Literal["best", "last"] = "best"
    alpha: float = Field(default=1.0, gt=0, le=1, description="base + alpha * (tuned - base).")
    gguf: Literal["F16", "Q8_0"] | None = Field(default=None, description="For the `openvino` engine.")


class TrainConfig(_Part):
    # What is tuned, on what, into where
    model: str = Field(
        description="Hub id, folder, `starter`, `starter-tiny`, or `tiny` (random, for tests)."
    )
    revision: str | None = Field(default=None, description="Commit of the hub's model; pin it.")
    corpus: str = Field(
        description="Folder from `python -m finetune.corpus`, or `tiny`: this repository's own code."
    )
    output: Path
    name: str | None = Field(default=None, description="Name of the tuned model; null: the output folder's.")
    method: Literal["full", "lora"] = "full"
    lora: LoraOptions = LoraOptions()

    # How many tokens a step sees: sequence_tokens * micro_batch * accumulation * processes
    sequence_tokens: int = Field(default=2048, ge=8, description="Packed rows are cut to this length.")
    micro_batch: int = Field(default=1, ge=1)
    accumulation: int = Field(default=1, ge=1)
    steps: int = Field(ge=1)

    # 1e-5 suits full tuning of a trained model; LoRA takes about ten times that
    learning_rate: float = Field(default=1e-5, gt=0)
    warmup_steps: int = Field(default=20, ge=0)
    final_rate_ratio: float = Field(default=0.1, ge=0, le=1, description="Where the cosine ends.")
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = Field(
        default=(0.9, 0.95), description="0.95: a loss spike is forgotten sooner."
    )
    clip_norm: float = Field(default=1.0, gt=0)
    seed: int = 1

    # What it costs
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        default="auto", description="auto: bf16 where the card has it, else fp16; fp32 on CPU."
    )
    zero: ZeroOptions = ZeroOptions()
    checkpointing: bool = Field(
        default=True, description="Recompute activations: a third more time, far less memory."
    )
    torch_adam: bool | None = Field(
        default=None,
        description="null: true, except with offload on CUDA, where DeepSpeed's CPUAdam is compiled.",
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads a process; null: torch's choice."
    )
    cards: int = Field(default=1, ge=1, description="What the recipe is meant for; --dry-run plans for it.")

    # What is watched
    eval_every: int = Field(default=50, ge=1, description="Steps between held-out losses.")
    eval_rows: int = Field(default=64, ge=1, description="Held-out rows of each language.")
    patience: int | None = Field(
        default=None, ge=1, description="Stop after so many held-out losses without a best."
    )
    watch: str = Field(
        default="all", description="Language whose held-out loss picks the best; `all`: the mean."
    )
    save_every: int = Field(default=200, ge=1, description="Steps between checkpoints to resume from.")
    max_skipped_steps: int = Field(
        default=20, ge=1, description="fp16: overflows in a row before it is given up."
    )
    report: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    export: ExportOptions = ExportOptions()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be below steps ({self.steps})")
        return self


def load_config(path: Path, overrides: list[str]) -> TrainConfig:
    """The recipe at `path` with each `dotted.key=value` put over it. Raises ConfigError with all mistakes."""
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(
            sorted(file.stem for file in (Path(__file__).parents[1] / "configs").glob("*.yaml"))
        )
        raise ConfigError(f"There is no recipe {path}. In finetune/configs there are: {known}.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must hold `key: value` lines.")
    mistakes = [mistake for text in overrides if (mistake := _put(document, text))]  # pyright: ignore[reportUnknownArgumentType]
    try:
        config = TrainConfig.model_validate(document)
    except ValidationError as error:
        mistakes += [
            f"{'.'.join(str(part) for part in item['loc']) or 'recipe'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        config = None
    if mistakes or config is None:
        raise ConfigError(f"{path} (with what the command line adds) is wrong:\n  " + "\n  ".join(mistakes))
    return config


def _put(document: dict[str, Any], text: str) -> str | None:
    """Sets one `dotted.key=value` (the value in YAML) in `document`; says what is wrong with `text`."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        return f"{text}: write key=value, e.g. zero.stage=3"
    *parents, last = key.split(".")
    for parent in parents:
        inner = document.setdefault(parent, {})
        if not isinstance(inner, dict):
            return f"{text}: `{parent}` is no group of keys"
        document = inner  # pyright: ignore[reportUnknownVariableType]
    try:
        document[last] = _number_or(yaml.safe_load(value))
    except yaml.YAMLError:
        return f"{text}: the value is not valid YAML"
    return None


def _number_or(value: Any) -> Any:
    """YAML reads 1e-4 as text, for want of a dot."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return value
