"""Tools that only speak chat -> `POST /v1/chat/completions`: the last user message is written on.

No chat template: the models served here are for code, and mostly base models. docs/protocols.md says what
this is good for.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from acepilot.errors import BadRequest
from acepilot.protocol import AcepilotInfo, CompletionRequest, CompletionResponse, StreamOptions, Usage
from server.routes.access import State
from server.routes.answers import STREAMED, streamed, translated, whole

router = APIRouter(prefix="/v1", tags=["chat"])

FinishReason = Literal["stop", "length"]


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    role: str
    content: str | Annotated[list[TextPart], Field(description="Text alone; no images.")] | None = None


class ChatRequest(BaseModel):
    """OpenAI's chat request. Unknown fields are ignored."""

    messages: list[ChatMessage]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    seed: int | None = None


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str


class ChatChoice(BaseModel):
    index: int
    message: AnswerMessage
    finish_reason: FinishReason | None
    logprobs: None = None


class ChatResponse(BaseModel):
    """`id` opens `/v1/explain/{id}`."""

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
    asked = _our_request(body)
    if body.stream:
        return await streamed(asked, request, state, reword=_chunk_by_chunk())
    answer = await whole(asked, request, state)
    choices = [
        ChatChoice(
            index=choice.index,
            message=AnswerMessage(content=choice.text),
            finish_reason=choice.finish_reason,
        )
        for choice in answer.choices
    ]
    return ChatResponse(
        id=answer.id,
        created=answer.created,
        model=answer.model,
        choices=choices,
        usage=answer.usage,
        acepilot=answer.acepilot,
    )


def _our_request(body: ChatRequest) -> CompletionRequest:
    return translated(
        prompt=_last_words(body.messages),
        max_tokens=body.max_completion_tokens if body.max_tokens is None else body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        n=body.n,
        stop=body.stop,
        stream=body.stream,
        stream_options=body.stream_options,
        seed=body.seed,
        mode="raw",
    )


def _last_words(messages: list[ChatMessage]) -> str:
    """Raises BadRequest where no user speaks."""
    for message in reversed(messages):
        if message.role == "user":
            content = message.content or ""
            return content if isinstance(content, str) else "".join(part.text for part in content)
    raise BadRequest("No message is a user's: the last one of these is what is completed.", field="messages")


def _chunk_by_chunk() -> Callable[[CompletionResponse], ChatChunk]:
    """Clients join what the deltas say, the role too: it is told once a choice."""
    begun: set[int] = set()

    def reword(chunk: CompletionResponse) -> ChatChunk:
        choices: list[ChatChunkChoice] = []
        for choice in chunk.choices:
            role = None if choice.index in begun else "assistant"
            begun.add(choice.index)
            delta = ChatDelta(role=role, content=choice.text)
            choices.append(
                ChatChunkChoice(index=choice.index, delta=delta, finish_reason=choice.finish_reason)
            )
        return ChatChunk(
            id=chunk.id,
            created=chunk.created,
            model=chunk.model,
            choices=choices,
            usage=chunk.usage,
            acepilot=chunk.acepilot,
        )

    return reword
