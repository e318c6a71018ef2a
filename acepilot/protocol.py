"""The HTTP contract between the server and its clients: these models are the OpenAPI.

The completion request is OpenAI's `POST /v1/completions`, plus what a code editor knows: `language`,
`path`, `snippets` and `mode`. What Acepilot adds to a response lives under one key, `acepilot`, which
OpenAI's clients ignore.
"""

from typing import Annotated, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Mode = Literal["auto", "line", "block", "raw"]
FinishReason = Literal["stop", "length", "cancelled"]
CacheSource = Literal["none", "response", "typed_through"]

MAX_TOKENS = 4096
MAX_CHOICES = 8
MAX_SNIPPETS = 64
MAX_TEXT_CHARS = 4_000_000
"""A body beyond this is refused before tokenising: about a thousand times any model's context."""


def without_nulls(value: object) -> object:
    """A body's fields that say something: null means the default, in OpenAI's protocol and llama.cpp's."""
    if not isinstance(value, dict):
        return value
    given = cast(dict[str, object], value)
    return {name: given[name] for name in given if given[name] is not None}


class Snippet(BaseModel):
    """A piece of another file that helps: `path` as the user would name it, `text` whole lines."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(max_length=4096)
    text: str = Field(max_length=MAX_TEXT_CHARS)


class StreamOptions(BaseModel):
    include_usage: bool = False


class CompletionRequest(BaseModel):
    """OpenAI's completion request. Unknown fields are ignored, as OpenAI's own server does."""

    model: str | None = Field(default=None, description="Informative: one server serves one model.")
    prompt: str = Field(max_length=MAX_TEXT_CHARS, description="Text before the cursor.")
    suffix: str | None = Field(default=None, max_length=MAX_TEXT_CHARS, description="Text after the cursor.")
    max_tokens: int = Field(
        default=64,
        ge=0,
        le=MAX_TOKENS,
        description="0 only reads the prompt into the KV cache, so that what is asked next comes sooner.",
    )
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, ge=0.0, le=1.0)
    n: int = Field(default=1, ge=1, le=MAX_CHOICES)
    stop: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(
        default_factory=list[str], max_length=16
    )
    stream: bool = False
    stream_options: StreamOptions | None = None
    seed: int | None = Field(
        default=None, description="Any number. Holds whatever else runs, to the model's rounding."
    )
    language: str | None = Field(
        default=None, max_length=64, description="LSP language id; else guessed from `path`."
    )
    path: str | None = Field(
        default=None, max_length=4096, description="File name; the model sees it with `snippets`."
    )
    snippets: list[Snippet] = Field(
        default_factory=list[Snippet],
        max_length=MAX_SNIPPETS,
        description="Oldest first, so that the KV prefix stays valid.",
    )
    mode: Mode | None = Field(
        default=None,
        description="`raw` returns the model's words untouched; `line` and `block` stop and filter as an "
        "editor wants; `auto` chooses between those two. Default: `auto` when `language` or `path` is given, "
        "else `raw`.",
    )
    rendered: bool = Field(
        default=False,
        description="True when `prompt` is laid out for the model already, as another Acepilot sends it: its "
        "sentinels then steer the model; else they are taken for text of a file, and broken up.",
    )
    time_limit_ms: int | None = Field(
        default=None,
        ge=0,
        le=600_000,
        description="Counted from the first token. When it is over, the text ends with its last whole line, "
        "as soon as there is one.",
    )
    echo: bool = Field(default=False, description="The prompt comes first in the text; `raw` mode only.")
    logprobs: int | None = Field(
        default=None,
        ge=0,
        le=5,
        description="0: each token's natural log-probability, in `raw` mode. More, its rivals, are refused.",
    )
    best_of: int | None = Field(default=None, description="Refused, unless it is `n`.")

    @property
    def asked_mode(self) -> Mode:
        return self.mode or ("auto" if self.language or self.path else "raw")

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, value: object) -> object:
        return without_nulls(value)

    @field_validator("prompt", mode="before")
    @classmethod
    def _one_prompt(cls, value: object) -> object:
        """OpenAI allows a list of prompts, or of tokens; one call here answers one text."""
        if not isinstance(value, list):
            return value
        items = cast(list[object], value)
        if any(isinstance(item, int | list) for item in items):
            raise ValueError("token numbers are not taken, since they are another model's: send text")
        if len(items) != 1:
            raise ValueError("one request answers one prompt: send several requests")
        return items[0]

    @field_validator("stop", mode="before")
    @classmethod
    def _stop_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _refuse_what_is_not_served(self) -> Self:
        if self.best_of is not None and self.best_of != self.n:
            raise ValueError("`best_of` is not supported: ask for `n` candidates instead")
        if self.echo and (self.suffix or self.asked_mode != "raw"):
            raise ValueError("`echo` is for plain prompts: leave it out with `suffix`, `language` or `path`")
        if self.logprobs is not None:
            if self.logprobs > 0:
                raise ValueError("`logprobs` beyond 0 are not supported: 0 tells the chosen tokens' own")
            if self.echo or self.stream or self.asked_mode != "raw":
                raise ValueError(
                    "`logprobs` are for plain, whole answers: leave out `echo`, `stream`, `language`, `path`"
                )
        return self


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class PromptReport(BaseModel):
    """What the model was shown, in tokens. No text: a trail never holds code."""

    prefix_tokens: int
    suffix_tokens: int
    snippet_tokens: int
    snippets_used: int
    clipped: bool = Field(description="True when the prompt was too long and lost its far ends.")
    dropped_chars: int = Field(description="Characters of prefix and suffix that did not fit.")
    fim: str | None = Field(description="Name of the fill-in-the-middle format, or null: prefix only.")


class FilterReport(BaseModel):
    """A filter or early stop that changed the text."""

    name: str
    removed_chars: int = Field(description="Negative where characters were added (indentation).")
    dropped: bool = Field(default=False, description="True when it left nothing.")


class SuffixChoice(BaseModel):
    """How the code after the cursor decided between drafts, for a model without fill-in-the-middle.

    `nats`: natural log-probability of that code after a text, less what it is with nothing inserted.
    """

    drafts: int
    texts: int = Field(description="Different texts compared: drafts, and drafts up to the end of a line.")
    chosen: int | None = Field(
        default=0, description="Number of the draft; 0 is the greedy one; null: none of them."
    )
    chosen_nats: float | None = Field(default=None, description="Null where there was nothing to compare.")
    greedy_nats: float | None = Field(default=None, description="Of the whole greedy draft.")
    scored_tokens: int = 0
    score_ms: float = 0.0


class Trail(BaseModel):
    """Why this completion, or why nothing. Counts, names and times only, never code."""

    id: str
    model: str
    engine: str
    language: str | None
    mode: Literal["line", "block", "raw"]
    prompt: PromptReport | None = None
    cache: CacheSource = "none"
    early_stop: str | None = Field(default=None, description="Name of the early stop that ended generation.")
    filters: list[FilterReport] = Field(default_factory=list[FilterReport])
    suffix_choice: SuffixChoice | None = None
    finish_reason: FinishReason | None = None
    generated_tokens: int = 0
    offered_chars: list[int] = Field(
        default_factory=list[int], description="Length of each choice as it is offered, in UTF-16 code units."
    )
    queue_ms: float = 0.0
    first_token_ms: float | None = None
    total_ms: float | None = None
    reason: str = Field(default="", description="One sentence: why there is a completion, or none.")


class AcepilotInfo(BaseModel):
    """Acepilot's own part of a completion response; in a stream, of its last chunk."""

    clipped: bool = False
    text: str | None = Field(
        default=None,
        description="Streams only: the final text of choice 0. The deltas are the model's words as they "
        "came; where a filter then cut something, this text is the one to insert.",
    )
    cache: CacheSource = "none"
    reason: str = ""


class LogProbs(BaseModel):
    """Natural log-probabilities of a text's tokens. A character of several tokens is one, with their sum.

    Where a token ends is found by counting: some are told a few characters early, the values all the same.
    """

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: None = None
    text_offset: list[int] = Field(description="Where each begins in the text, in characters.")


class Choice(BaseModel):
    index: int
    text: str
    finish_reason: Literal["stop", "length"] | None = None
    logprobs: LogProbs | None = None


class CompletionResponse(BaseModel):
    """OpenAI's completion response; one chunk of it when streamed. `id` opens `/v1/explain/{id}`."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = None
    acepilot: AcepilotInfo | None = None


class ModelCard(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "acepilot"
    engine: str
    context_tokens: int
    fim: str | None


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(BaseModel):
    status: Literal["ok"] = "ok"
    version: str


class Ready(BaseModel):
    """`GET /ready`: 200 when `status` is `ready`, else 503 with the same body and the reason."""

    status: Literal["loading", "ready", "failed"]
    model: str
    engine: str | None = None
    detail: str = ""


class ErrorBody(BaseModel):
    message: str
    type: str
    code: str
    param: str | None = None


class ErrorResponse(BaseModel):
    """OpenAI's error shape."""

    error: ErrorBody
