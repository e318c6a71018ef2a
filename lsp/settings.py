"""The language server's settings: flags, `ACEPILOT_*` variables, and [lsp] in the user's acepilot.toml."""

from typing import ClassVar

from pydantic import Field, HttpUrl, SecretStr

from acepilot.settings import ProgramSettings


class LspSettings(ProgramSettings):
    table: ClassVar[str] = "lsp"

    server_url: HttpUrl = Field(HttpUrl("http://127.0.0.1:8010"), description="Where the server listens.")
    token: SecretStr | None = Field(None, description="The value of the server's ACEPILOT_TOKEN.")
    time_budget_ms: int = Field(
        5000,
        ge=50,
        le=120_000,
        description="Time limit of a completion. After it, only the whole lines received so far are shown.",
    )
