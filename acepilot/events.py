"""Events of completions (shown, accepted, rejected ...), as language server, server and store exchange them.

They hold counts, names and times, never code. The language server infers them from the editor's changes
(lsp/feedback/), Tabby's clients send their own (server/routes/events.py); one store keeps both.
"""

from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, FailFast, Field

from acepilot.strict import StrictModel

Kind = Literal["shown", "accepted", "partly_accepted", "typed_through", "rejected", "survived"]

SurvivalS = Literal[30, 120, 360]
SURVIVAL_S: tuple[SurvivalS, ...] = get_args(SurvivalS)
"""Seconds after an acceptance at which the language server measures how much of the text remains."""

MAX_EVENTS = 1_000
"""Events in one batch, so that a request stays small."""

MAX_NAME_CHARS = 128
"""Characters of an id or name: enough for any editor's name and version."""

ShortName = Annotated[str, Field(max_length=MAX_NAME_CHARS)]
Chars = Annotated[int, Field(ge=0, le=1_000_000, description="UTF-16 code units, as editors count.")]


def utf16(text: str) -> int:
    """Return the length of a text in UTF-16 code units, as editors and `Chars` count."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


class CompletionEvent(StrictModel):
    """One event of one completion.

    `shown` comes first, once. One of these follows: `accepted` (the whole text), `partly_accepted` (again
    whenever more is accepted; `chars` is cumulative), `typed_through` (the user typed the whole text) or
    `rejected`. After an acceptance, `survived` comes once for each of `SURVIVAL_S`. If the first lines were
    offered and accepted alone, and then the rest, `accepted` comes again, with all `chars`.
    """

    model_config = ConfigDict(frozen=True)

    completion_id: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
    choice: int = Field(default=0, ge=0, le=64, description="Number of the candidate.")
    kind: Kind
    at: float = Field(gt=0, lt=1e11, description="Time of the event, in seconds since the epoch.")
    model: ShortName = ""
    language: ShortName = Field(default="", description="Acepilot's own id (acepilot/languages.toml).")
    client: ShortName = Field(default="", description="The editor or plugin, with its version.")
    shown_chars: Chars = 0
    chars: Chars = Field(default=0, description="Characters accepted so far, or typed by hand.")
    latency_ms: float | None = Field(
        default=None, ge=0, le=3_600_000, description="`shown`: time since the editor's request."
    )
    after_s: SurvivalS | None = Field(default=None, description="`survived`: seconds since the acceptance.")
    kept_ratio: float | None = Field(
        default=None, ge=0, le=1, description="`survived`: share of the accepted text that remains."
    )


class EventBatch(StrictModel):
    """Body of `POST /v1/events`."""

    events: Annotated[list[CompletionEvent], FailFast()] = Field(max_length=MAX_EVENTS)
