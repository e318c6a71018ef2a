"""The server's settings, from flags, `ACEPILOT_*` variables and the table [server] of acepilot.toml."""

from typing import Annotated, ClassVar, Literal, Self

import sqlalchemy as sa
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict
from sqlalchemy.exc import ArgumentError

from acepilot.settings import ProgramSettings, is_loopback
from server.engine.base import Dtype, EngineOptions
from server.engine.opening import EngineName
from server.events.database import database_url, refusal


class EventsSettings(ProgramSettings):
    """The settings of `python -m server stats`, which must run where the server's token is not known."""

    model_config = SettingsConfigDict(extra="ignore")
    table: ClassVar[str] = "server"

    events_url: SecretStr | None = Field(
        None,
        description="database of completion events: postgresql://user:password@host/name or "
        "sqlite:////path; without it, events.sqlite3 in ACEPILOT_HOME",
    )

    @field_validator("events_url")
    @classmethod
    def _known_database(cls, given: SecretStr | None) -> SecretStr | None:
        if given is None:
            return None
        scheme = given.get_secret_value().partition("://")[0].partition("+")[0]
        if scheme not in ("sqlite", "postgresql", "postgres"):
            raise ValueError("the URL must begin with postgresql:// or sqlite:///")
        try:
            url = database_url(given.get_secret_value())
        except (ArgumentError, ValueError):  # the error's text may quote a part of the password
            url = None
        if url is None or "@" in (url.host or ""):
            raise ValueError("this is not a valid URL: percent-encode @, : and / in the password")
        if why := refusal(url):
            raise ValueError(why)
        return given

    def events_database(self) -> sa.URL:
        """Return the URL of the events' database, with the default filled in."""
        return database_url(self.events_url.get_secret_value() if self.events_url else None)


class ServerSettings(EventsSettings):
    model_config = SettingsConfigDict(extra="forbid")
    # Not the port: another user's program may listen on the port that the editors expect. Not memory, which
    # other programs would lose. Not what is logged or deleted.
    # fmt: off
    set_in_working_directory: ClassVar[frozenset[str]] = frozenset({
        "prompt_budget_tokens", "suffix_candidates", "max_streams", "max_waiting", "threads", "dtype",
        "prompt_lookup",
    })
    # fmt: on

    model: str = Field(
        "starter",
        description="a model's registry name, current, a folder, a .gguf file or a hub id (OWNER/NAME)",
    )
    engine: EngineName = Field(
        "auto",
        description="what runs the model: openvino, torch, upstream, or auto, which is torch on CUDA and for "
        "safetensors files, else openvino",
    )
    host: str = Field(
        "127.0.0.1", description="address to listen on; any other than loopback requires a token"
    )
    port: int = Field(8010, ge=0, le=65535, description="port to listen on; 0: any free port")
    token: SecretStr | None = Field(
        None,
        description="bearer token that clients must send; required unless the server listens on loopback",
    )
    prompt_budget_tokens: int = Field(
        1536,
        ge=64,
        description="most prompt tokens of an editor's completion; a longer prompt delays the first token",
    )
    suffix_candidates: int = Field(
        0,
        ge=0,
        le=8,
        description="for models without fill-in-the-middle: number of drafts to generate; the draft, and the "
        "end of it, that best fits the code after the cursor is offered; 0: off",
    )
    max_streams: int = Field(16, ge=1, le=256, description="most sequences that run in the engine at a time")
    max_waiting: int = Field(
        32, ge=0, description="most sequences that wait for the engine; further requests are answered 429"
    )
    kv_cache_gb: int | None = Field(
        None,
        ge=1,
        description="GB for the KV cache; without it, 2, or on CUDA all memory that the weights leave free",
    )
    threads: int = Field(0, ge=0, description="CPU cores for the model; 0: all")
    dtype: Dtype = Field(
        "auto",
        description="number format of the torch engine's weights: float32, bfloat16, float16, int8, or auto, "
        "which suits the device",
    )
    prompt_lookup: bool = Field(
        True, description="draft tokens from the prompt's text, for speed; greedy output stays the same"
    )
    upstream: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="for --engine upstream: comma-separated URLs of OpenAI-style servers, without /v1"
    )
    upstream_token: SecretStr | None = Field(None, description="bearer token for the upstream servers")
    events_days: int = Field(
        400,
        ge=0,
        le=36_500,
        description="days that completion events are kept; older ones are deleted; 0: keep all",
    )
    log_level: Literal["info", "warning", "error"] = Field(
        "info", description="least severe log events to print; info logs each completion's counts and times"
    )

    @field_validator("upstream", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        is_text = isinstance(given, str)
        return tuple(url.strip() for url in given.split(",") if url.strip()) if is_text else given

    @model_validator(mode="after")
    def _token_beyond_loopback(self) -> Self:
        if not is_loopback(self.host) and not (self.token and self.token.get_secret_value()):
            raise ValueError(
                f"{self.host} can be reached from other machines, so a token is required: set ACEPILOT_TOKEN "
                "(and give it to the editors), or listen on 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _drafts_run_together(self) -> Self:
        if self.suffix_candidates > self.max_streams:
            raise ValueError(
                f"suffix_candidates is {self.suffix_candidates}, but max_streams is only {self.max_streams}: "
                "a completion's drafts run at the same time, so raise max_streams or ask for fewer drafts"
            )
        return self

    def engine_options(self) -> EngineOptions:
        return EngineOptions(
            kv_cache_gb=self.kv_cache_gb,
            max_streams=self.max_streams,
            threads=self.threads,
            dtype=self.dtype,
            prompt_lookup=self.prompt_lookup,
            upstream=self.upstream,
            upstream_token=self.upstream_token.get_secret_value() if self.upstream_token else None,
        )
