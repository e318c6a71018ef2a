"""The language server's settings: flags, `ACEPILOT_*` variables, [lsp] in the user's own acepilot.toml."""

from typing import ClassVar

from pydantic import Field, HttpUrl, SecretStr

from acepilot.settings import ProgramSettings


class LspSettings(ProgramSettings):
    table: ClassVar[str] = "lsp"
    reads_working_directory: ClassVar[bool] = False

    server_url: HttpUrl = Field(
        HttpUrl("http://127.0.0.1:8010"), description="Where `python -m server` listens."
    )
    token: SecretStr | None = Field(None, description="Sent to the server; its own ACEPILOT_TOKEN.")
    time_budget_ms: int = Field(
        5000,
        ge=50,
        le=120_000,
        description="A completion that takes longer is shown as far as it is whole lines.",
    )
