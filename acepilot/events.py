"""What became of completions: the schema that language server, HTTP server and store agree on.

Counts, names and times only, never code. The language server infers these events from the editor's changes
(lsp/), Tabby's clients send their own (server/routes/events.py), and both end in one store.
"""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["shown", "accepted", "partly_accepted", "typed_through", "rejected", "survived"]

SurvivalS = Literal[30, 120, 360]
SURVIVAL_S: tuple[SurvivalS, ...] = get_args(SurvivalS)
"""Seconds after an acceptance at which is looked what is left of the text."""

MAX_EVENTS = 1_000
MAX_NAME_CHARS = 128

ShortName = Annotated[str, Field(max_length=MAX_NAME_CHARS)]
Chars = Annotated[int, Field(ge=0, le=1_000_000, description="UTF-16 code units, as editors count.")]


def utf16(text: str) -> int:
    """The length of a text as editors count, and as `Chars` are."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


class CompletionEvent(BaseModel):
    """One thing that happened to one completion.

    `shown` comes first and once. Then one of: `accepted` (the whole text), `partly_accepted` (again whenever
    it grows; `chars` is cumulative), `typed_through` (its whole text was typed by hand), `rejected`. After an
    acceptance, one `survived` for each of `SURVIVAL_S`. Where the first lines of a completion were offered
    alone and accepted, and then the rest, `accepted` comes again, with all `chars`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    completion_id: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
    choice: int = Field(default=0, ge=0, le=64, description="Which of the candidates.")
    kind: Kind
    at: float = Field(gt=0, lt=1e11, description="When it happened: seconds since the epoch.")
    model: ShortName = ""
    language: ShortName = Field(default="", description="Acepilot's own id (acepilot/languages.toml).")
    client: ShortName = Field(default="", description="The editor or plugin, with its version.")
    shown_chars: Chars = 0
    chars: Chars = Field(default=0, description="Of the text: accepted so far, or typed by hand.")
    latency_ms: float | None = Field(
        default=None, ge=0, le=3_600_000, description="`shown`: since the editor asked."
    )
    after_s: SurvivalS | None = Field(default=None, description="`survived`: when looked.")
    kept_ratio: float | None = Field(
        default=None, ge=0, le=1, description="`survived`: how much of the accepted text still stands."
    )


class EventBatch(BaseModel):
    """Body of `POST /v1/events`."""

    model_config = ConfigDict(extra="forbid")

    events: list[CompletionEvent] = Field(max_length=MAX_EVENTS)
