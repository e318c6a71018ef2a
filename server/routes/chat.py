"""Tools that only speak chat -> `POST /v1/chat/completions`: the model continues the last user message.

There is no chat template: the models served here are for code, and mostly base models. docs/protocols.md says
when this endpoint is useful.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, FailFast, Field

from acepilot.errors import BadRequest
from acepilot.protocol import (
    MAX_STOPS,
    AcepilotInfo,
    CacheSalt,
    Choice,
    CompletionRequest,
    CompletionResponse,
    StopString,
    StreamOptions,
    Text,
    Usage,
)
from server.routes.answers import STREAMED, EventStream, translated, whole
from server.routes.body import JsonRoute
from server.state import State

router = APIRouter(prefix="/v1", tags=["chat"], route_class=JsonRoute)

FinishReason = Literal["stop", "length"]


MAX_MESSAGES = 1_000
MAX_PARTS = 100
"""Items of a chat and of a message. Only one message is used; longer chats are hardly ever sent."""


class TextPart(BaseModel):
    type: Literal["text"]
    text: Text


Texts = Annotated[
    list[TextPart], Field(fail_fast=True, max_length=MAX_PARTS, description="Text only; images are refused.")
]


class ChatMessage(BaseModel):
    role: Annotated[str, Field(max_length=64)]
    content: Text | Texts | None = None


class ChatRequest(BaseModel):
    """OpenAI's chat request. Unknown fields are ignored."""

    messages: Annotated[list[ChatMessage], FailFast()] = Field(max_length=MAX_MESSAGES)
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    stop: StopString | Annotated[list[StopString], Field(max_length=MAX_STOPS, fail_fast=True)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    seed: int | None = None
    cache_salt: CacheSalt | None = None


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str


class ChatChoice(BaseModel):
    index: int
    message: AnswerMessage
    finish_reason: FinishReason | None
    logprobs: None = None


class ChatResponse(BaseModel):
    """OpenAI's chat response. `id` opens `/v1/explain/{id}`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage | None = None
    acepilot: AcepilotInfo | None = None


class ChatDelta(BaseModel):
    role: Literal["assistant"] | None
    content: str


class ChatChunkChoice(BaseModel):
    index: int
    delta: ChatDelta
    finish_reason: FinishReason | None
    logprobs: None = None


class ChatChunk(BaseModel):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | None = None
    acepilot: AcepilotInfo | None = None


@router.post("/chat/completions", response_model=ChatResponse, responses=STREAMED)
async def chat_completions(
    body: ChatRequest, request: Request, state: State
) -> ChatResponse | StreamingResponse:
    if body.stream:
        return EventStream(_our_request(body), state, to_protocol=_to_chunks())
    answer = await whole(_our_request(body), request, state)
    choices = [
        ChatChoice(
            index=choice.index, message=AnswerMessage(content=choice.text), finish_reason=choice.finish_reason
        )
        for choice in answer.choices
    ]
    return ChatResponse(**_head(answer), choices=choices)


def _our_request(body: ChatRequest) -> CompletionRequest:
    fields = body.model_dump(exclude={"messages", "max_completion_tokens"})
    if body.max_tokens is None:
        fields["max_tokens"] = body.max_completion_tokens
    return translated(**fields, prompt=_last_user_text(body.messages), mode="raw")


def _last_user_text(messages: list[ChatMessage]) -> str:
    """Return the text of the last user message. Raises BadRequest when there is none."""
    for message in reversed(messages):
        if message.role == "user":
            content = message.content or ""
            return content if isinstance(content, str) else "".join(part.text for part in content)
    raise BadRequest(
        "`messages` has no message with role `user`; the last user message is the text to complete.",
        field="messages",
    )


def _to_chunks() -> Callable[[CompletionResponse], ChatChunk]:
    """Return a translator for one stream. It sends a choice's role once, because clients join all deltas."""
    begun: set[int] = set()

    def to_choice(choice: Choice) -> ChatChunkChoice:
        delta = ChatDelta(role=None if choice.index in begun else "assistant", content=choice.text)
        begun.add(choice.index)
        return ChatChunkChoice(index=choice.index, delta=delta, finish_reason=choice.finish_reason)

    return lambda chunk: ChatChunk(**_head(chunk), choices=[to_choice(choice) for choice in chunk.choices])


def _head(answer: CompletionResponse) -> dict[str, Any]:
    return answer.model_dump(exclude={"object", "choices"})
