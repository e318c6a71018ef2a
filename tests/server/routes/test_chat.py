"""`POST /v1/chat/completions`: the chat protocol around a plain completion."""

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from tests.event_stream import chunks_of

Serve = Callable[..., Any]

MESSAGES = [
    {"role": "system", "content": "You complete code."},
    {"role": "user", "content": "earlier"},
    {"role": "assistant", "content": "answer"},
    {"role": "user", "content": [{"type": "text", "text": "count"}, {"type": "text", "text": ":"}]},
]


def chat(server: Any, **body: object) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=30)


def test_the_last_user_message_is_completed(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    answer = chat(server, messages=MESSAGES, model="whatever", max_completion_tokens=2).json()
    assert scripted.prompts[-1] == "count:"
    assert answer["object"] == "chat.completion"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "one two"},
            "finish_reason": "length",
            "logprobs": None,
        }
    ]
    assert answer["usage"]["completion_tokens"] == 2
    assert server.get(f"/v1/explain/{answer['id']}").json()["mode"] == "raw"


def test_a_stream_sends_the_role_once_for_each_choice(serve: Serve, scripted: Any) -> None:
    response = chat(
        serve(scripted), messages=MESSAGES, stream=True, n=2, stream_options={"include_usage": True}
    )
    chunks = chunks_of(response)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[-1]["usage"]["completion_tokens"] == 6
    for index in (0, 1):
        choices = [c for chunk in chunks for c in chunk["choices"] if c["index"] == index]
        roles = [choice["delta"]["role"] for choice in choices]
        assert roles == ["assistant"] + [None] * (len(roles) - 1)
        assert "".join(choice["delta"]["content"] for choice in choices) == "one two three"
        assert choices[-1]["finish_reason"] == "stop"


def test_openai_s_client_chats(serve: Serve, scripted: Any) -> None:
    with openai.OpenAI(base_url=f"{serve(scripted).url}/v1", api_key="unused") as client:
        messages: Any = MESSAGES
        whole = client.chat.completions.create(model="scripted", messages=messages, stop=[" three"])
        assert whole.choices[0].message.content == "one two"
        with client.chat.completions.stream(model="scripted", messages=messages) as stream:
            final = stream.get_final_completion()
        assert (final.choices[0].message.role, final.choices[0].message.content) == (
            "assistant",
            "one two three",
        )


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "messages"),
        ([{"role": "system", "content": "x"}], "messages"),
        ([{"role": "user", "content": ""}], "prompt"),
        ([{"role": "user", "content": None}], "prompt"),
    ],
)
def test_a_request_without_a_user_message_is_refused(
    serve: Serve, scripted: Any, messages: list[object], field: str
) -> None:
    response = chat(serve(scripted), messages=messages)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == field


def test_images_are_refused_and_not_echoed(serve: Serve, scripted: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,secret"}}
    response = chat(serve(scripted), messages=[{"role": "user", "content": [image]}])
    assert response.status_code == 422
    assert "secret" not in response.text


def test_a_wrong_option_names_it(serve: Serve, scripted: Any) -> None:
    response = chat(serve(scripted), messages=MESSAGES, temperature=9)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "temperature"
