"""The answer of `GET /v1/explain/{id}`: why the server offered a completion, or why it did not."""

from typing import Literal

from pydantic import BaseModel, Field

from acepilot.protocol import CacheSource


class PromptReport(BaseModel):
    """The size of the prompt and its parts. It holds no text: a trail never holds code."""

    prefix_tokens: int
    suffix_tokens: int
    snippet_tokens: int
    snippets_used: int
    clipped: bool = Field(description="True if prefix or suffix was too long, and was cut at its far end.")
    dropped_chars: int = Field(description="Characters of prefix and suffix that did not fit.")
    fim: str | None = Field(description="Fill-in-the-middle format; null if the prompt had no suffix.")


class FilterReport(BaseModel):
    """A filter or early stop that changed the text."""

    name: str
    removed_chars: int = Field(description="Negative if characters were added.")
    dropped: bool = Field(default=False, description="True if nothing was left.")


class SuffixChoice(BaseModel):
    """How the code after the cursor chose between drafts, for a model without fill-in-the-middle.

    `nats` are the natural log-probability of that code after a draft, minus that without a draft.
    """

    drafts: int
    texts: int = Field(description="Texts compared: drafts, and drafts cut at the end of a line.")
    chosen: int | None = Field(default=0, description="Draft number; 0 is the greedy one; null: no draft.")
    chosen_nats: float | None = Field(default=None, description="Null if there was nothing to compare.")
    greedy_nats: float | None = Field(default=None, description="`nats` of the whole greedy draft.")
    scored_tokens: int = 0
    score_ms: float = 0.0


class Trail(BaseModel):
    """Why the server answered as it did. It holds counts, names and times, never code."""

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
    finish_reason: Literal["stop", "length", "cancelled"] | None = None
    generated_tokens: int = 0
    offered_chars: list[int] = Field(
        default_factory=list[int], description="Length of each choice as offered, in UTF-16 code units."
    )
    queue_ms: float = 0.0
    first_token_ms: float | None = None
    total_ms: float | None = None
    reason: str = Field(default="", description="One sentence: why there is a completion, or why not.")
