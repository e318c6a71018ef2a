"""The server's settings: flags, `ACEPILOT_*` variables, the table [server] of acepilot.toml."""

from typing import Annotated, ClassVar, Literal, Self

import sqlalchemy as sa
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict
from sqlalchemy.exc import ArgumentError

from acepilot.settings import ProgramSettings, is_loopback
from server.engine.base import Dtype, EngineOptions
from server.engine.opening import EngineName
from server.events.database import database_url


class EventsSettings(ProgramSettings):
    """All that `python -m server stats` asks for: it reads where a server's token, say, is not to be had."""

    model_config = SettingsConfigDict(extra="ignore")
    table: ClassVar[str] = "server"

    events_url: SecretStr | None = Field(
        None,
        description="database for what became of completions; else events.sqlite3 in ACEPILOT_HOME: "
        "postgresql://user:password@host/name or sqlite:////path",
    )

    @field_validator("events_url")
    @classmethod
    def _known_database(cls, given: SecretStr | None) -> SecretStr | None:
        if given is None:
            return None
        scheme = given.get_secret_value().partition("://")[0].partition("+")[0]
        if scheme not in ("sqlite", "postgresql", "postgres"):
            raise ValueError("it must begin with postgresql:// or sqlite:///")
        try:
            is_address = "@" not in (database_url(given.get_secret_value()).host or "")
        except (ArgumentError, ValueError):  # whose words may quote a part of the password
            is_address = False
        if not is_address:
            raise ValueError("it cannot be read as an address: percent-encode @, : and / in the password")
        return given

    def events_database(self) -> sa.URL:
        return database_url(self.events_url.get_secret_value() if self.events_url else None)


class ServerSettings(EventsSettings):
    model_config = SettingsConfigDict(extra="forbid")

    model: str = Field(
        "starter",
        description="a name in the registry, current, a folder, a .gguf file or a hub id (OWNER/NAME)",
    )
    engine: EngineName = Field("auto", description="what runs the model")
    host: str = Field("127.0.0.1", description="address to listen on; beyond loopback a token is demanded")
    port: int = Field(8010, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    token: SecretStr | None = Field(None, description="bearer token that clients must show")
    prompt_budget_tokens: int = Field(
        1536, ge=64, description="prompt tokens of an editor's completion; longer costs time to first token"
    )
    suffix_candidates: int = Field(
        0,
        ge=0,
        le=8,
        description="for models without fill-in-the-middle: drafts from which the code after the cursor "
        "chooses, and where to stop; 0: off",
    )
    max_streams: int = Field(16, ge=1, le=256, description="sequences that share one engine step")
    max_waiting: int = Field(32, ge=0, description="requests that may queue; more are answered 429")
    kv_cache_gb: int | None = Field(
        None,
        ge=1,
        description="GB for the KV cache at most; else 2, and on CUDA all that is free beside the weights",
    )
    threads: int = Field(0, ge=0, description="cores for the model; 0: all")
    dtype: Dtype = Field(
        "auto", description="weights in the torch engine: auto, float32, bfloat16, float16 or int8"
    )
    prompt_lookup: bool = Field(
        True, description="draft tokens from the prompt's own text; greedy output stays the same"
    )
    upstream: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="for --engine upstream: comma-separated URLs of OpenAI-style servers, before /v1"
    )
    upstream_token: SecretStr | None = Field(None, description="bearer token for those servers")
    log_level: Literal["info", "warning", "error"] = Field(
        "info", description="`info` has a line a completion: counts and times, never code"
    )

    @field_validator("upstream", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        return (
            tuple(url.strip() for url in given.split(",") if url.strip()) if isinstance(given, str) else given
        )

    @model_validator(mode="after")
    def _token_beyond_loopback(self) -> Self:
        if not is_loopback(self.host) and not (self.token and self.token.get_secret_value()):
            raise ValueError(
                f"{self.host} can be reached from other machines, so a token is demanded: set ACEPILOT_TOKEN "
                "(and give it to the editors), or listen on 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _drafts_fit(self) -> Self:
        if self.suffix_candidates > self.max_streams:
            raise ValueError(
                f"suffix_candidates is {self.suffix_candidates} and max_streams only {self.max_streams}: a "
                "completion's drafts share steps, so raise max_streams or ask for fewer drafts"
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
