"""The HTTP protocol between the server and its clients. The OpenAPI document is made of these models.

The completion request is OpenAI's `POST /v1/completions`, with fields for code editors: `language`, `path`,
`snippets` and `mode`. Acepilot's additions to a response are under one key, `acepilot`, which
OpenAI's clients ignore.
"""

from typing import Annotated, Literal, Self, cast

from pydantic import BaseModel, FailFast, Field, field_validator, model_validator

from acepilot.strict import StrictModel

Mode = Literal["auto", "line", "block", "raw"]
CacheSource = Literal["none", "response", "typed_through"]

MAX_TOKENS = 4096
MAX_CHOICES = 8
MAX_SNIPPETS = 64
MAX_STOPS = 16
MAX_TEXT_CHARS = 1_000_000
"""Characters of one text. A longer one is refused before it is tokenised; no model's context is as long."""

MAX_ECHO_CHARS = 200_000
"""Characters of all the prompts in an answer with `echo`: each choice repeats the prompt."""

Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
"""Code, or what else a model reads."""

PathName = Annotated[str, Field(max_length=4096)]
"""A file's path, as long as Linux allows, or a model's name, which may be a path."""

LanguageName = Annotated[str, Field(max_length=64)]
StopString = Annotated[str, Field(min_length=1, max_length=256)]
CacheSalt = Annotated[str, Field(min_length=1, max_length=256)]


def without_nulls(value: object) -> object:
    """Return a body without its null fields: in OpenAI's protocol and llama.cpp's, null means the default."""
    if not isinstance(value, dict):
        return value
    given = cast(dict[str, object], value)
    return {name: given[name] for name in given if given[name] is not None}


class Snippet(StrictModel):
    """A piece of another file, as context: `path` as the user would write it, and `text` in whole lines."""

    path: PathName
    text: Text


class StreamOptions(BaseModel):
    include_usage: bool = False


class CompletionRequest(BaseModel):
    """OpenAI's completion request. Unknown fields are ignored, as by OpenAI's own server."""

    model: PathName | None = Field(default=None, description="Not used: one server serves one model.")
    prompt: Text = Field(description="Text before the cursor.")
    suffix: Text | None = Field(default=None, description="Text after the cursor.")
    max_tokens: int = Field(
        default=64,
        ge=0,
        le=MAX_TOKENS,
        description="0 only reads the prompt into the KV cache, so that the next request is faster.",
    )
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, ge=0.0, le=1.0)
    n: int = Field(default=1, ge=1, le=MAX_CHOICES)
    stop: Annotated[list[StopString], FailFast()] = Field(default_factory=list[str], max_length=MAX_STOPS)
    stream: bool = False
    stream_options: StreamOptions | None = None
    seed: int | None = Field(
        default=None, description="Any number. Other requests do not change the result, except for rounding."
    )
    language: LanguageName | None = Field(
        default=None, description="LSP language id; without it, `path` decides."
    )
    path: PathName | None = Field(
        default=None, description="File name; the model sees it if there are `snippets`."
    )
    snippets: list[Snippet] = Field(
        default_factory=list[Snippet],
        max_length=MAX_SNIPPETS,
        description="Oldest first, so that the KV cache stays valid when one is added.",
    )
    mode: Mode | None = Field(
        default=None,
        description="`raw` returns the model's text unchanged; `line` and `block` stop early and filter, as "
        "an editor needs; `auto` chooses between these two. Default: `auto` with `language` or `path`, else "
        "`raw`.",
    )
    rendered: bool = Field(
        default=False,
        description="True if `prompt` is already laid out for the model, as another Acepilot sends it. Its "
        "sentinels then steer the model; otherwise they count as text of a file, and are broken up.",
    )
    time_limit_ms: int | None = Field(
        default=None,
        ge=0,
        le=600_000,
        description="Counted from the first token. After it, the text ends with its last complete line, as "
        "soon as there is one.",
    )
    cache_salt: CacheSalt | None = Field(
        default=None,
        description="As in vLLM: only requests with the same salt, token and address share the caches. A "
        "proxy gives each of its users another one, so that none can test by timing what another one sent.",
    )
    echo: bool = Field(default=False, description="Put the prompt before the text; `raw` mode only.")
    logprobs: int | None = Field(
        default=None,
        ge=0,
        le=5,
        description="0: the natural log-probability of each token, in `raw` mode. Larger values are refused.",
    )
    best_of: int | None = Field(default=None, description="Refused, unless equal to `n`.")

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
        """Take the prompt out of a list. OpenAI allows several prompts, and tokens; this server does not."""
        if not isinstance(value, list):
            return value
        items = cast(list[object], value)
        if any(isinstance(item, int | list) for item in items):
            raise ValueError("token numbers are not supported: send text")
        if len(items) != 1:
            raise ValueError("a request has one prompt: send several requests")
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
            raise ValueError("`echo` does not go with `suffix`, `language` or `path`: leave it out")
        if self.echo and len(self.prompt) * self.n > MAX_ECHO_CHARS:
            raise ValueError(
                f"`echo` would repeat {len(self.prompt) * self.n:,} characters of prompt; {MAX_ECHO_CHARS:,} "
                "are allowed: leave it out, or lower `n`"
            )
        if self.logprobs is not None:
            if self.logprobs > 0:
                raise ValueError("`logprobs` above 0 is not supported: 0 returns those of the chosen tokens")
            if self.echo or self.stream or self.asked_mode != "raw":
                raise ValueError(
                    "`logprobs` does not go with `echo`, `stream`, `language` or `path`: leave out either"
                )
        return self


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AcepilotInfo(BaseModel):
    """Acepilot's additions to a completion response; in a stream, to the last chunk."""

    clipped: bool = False
    text: str | None = Field(
        default=None,
        description="Streams only: the final text of choice 0, which is the one to insert. It differs from "
        "the streamed text if a filter cut something at the end.",
    )
    cache: CacheSource = "none"
    reason: str = ""


class LogProbs(BaseModel):
    """Natural log-probabilities of a text's tokens. Several tokens of one character count as one token.

    The ends of tokens are counted in characters, and may be a few characters early; the values are exact.
    """

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: None = None
    text_offset: list[int] = Field(description="Where each token begins in the text, in characters.")


class Choice(BaseModel):
    index: int
    text: str
    finish_reason: Literal["stop", "length"] | None = None
    logprobs: LogProbs | None = None


class CompletionResponse(BaseModel):
    """OpenAI's completion response, or one chunk of a stream. `/v1/explain/{id}` explains it."""

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
    """Answer of `GET /ready`: 200 if `status` is `ready`, else 503 with the reason in `detail`."""

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
