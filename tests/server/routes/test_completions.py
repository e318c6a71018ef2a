"""What `POST /v1/completions` answers, through a real port, on an engine that plays a script."""

from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.event_stream import chunks_of

Serve = Callable[..., Any]


def test_raw_mode_returns_the_model_s_text(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    answer = server.complete(prompt="count:").json()
    assert answer["choices"] == [
        {"index": 0, "text": "one two three", "finish_reason": "stop", "logprobs": None}
    ]
    assert answer["usage"] == {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
    assert scripted.prompts[-1] == "count:"


def test_a_suffix_is_rendered_as_fill_in_the_middle(serve: Serve, scripted: Any) -> None:
    serve(scripted).complete(prompt="before", suffix="after")
    assert scripted.prompts[-1] == "<|fim_prefix|>before<|fim_suffix|>after<|fim_middle|>"


def test_sentinels_in_a_user_s_file_are_broken_up(serve: Serve, scripted: Any) -> None:
    serve(scripted).complete(prompt="a <|fim_suffix|> b", suffix="c <|endoftext|>")
    prompt = scripted.prompts[-1]
    assert prompt.count("<|fim_suffix|>") == 1
    assert "<|endoftext|>" not in prompt


def test_streaming_sends_tokens_then_the_end_then_usage(serve: Serve, scripted: Any) -> None:
    response = serve(scripted).complete(prompt="count:", stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    events = chunks_of(response)
    assert [event["choices"][0]["text"] for event in events[:-1]] == ["one", " two", " three", ""]
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-2]["acepilot"]["text"] == "one two three"
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("stream", [False, True])
def test_n_choices_have_n_seeds(serve: Serve, scripted: Any, stream: bool) -> None:
    response = serve(scripted).complete(prompt="x", n=3, temperature=1.0, seed=5, stream=stream)
    if stream:
        ends = [c for event in chunks_of(response) for c in event["choices"] if c["finish_reason"]]
        assert sorted(choice["index"] for choice in ends) == [0, 1, 2]
    else:
        assert [choice["index"] for choice in response.json()["choices"]] == [0, 1, 2]
    assert sorted(scripted.seeds[-3:]) == [5, 6, 7]


def test_stop_strings_end_the_text_and_never_show(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    assert server.complete(prompt="x", stop=[" three"]).json()["choices"][0]["text"] == "one two"
    streamed = chunks_of(server.complete(prompt="x", stop="o thr", stream=True))
    assert "".join(event["choices"][0]["text"] for event in streamed) == "one tw"


def test_max_tokens_ends_with_length(serve: Serve, scripted: Any) -> None:
    choice = serve(scripted).complete(prompt="x", max_tokens=2).json()["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("one two", "length")


def test_a_long_prompt_is_clipped_from_the_left_and_reported(serve: Serve, scripted: Any) -> None:
    prompt = "".join(f"word{number}\n" for number in range(9000))
    answer = serve(scripted).complete(prompt=prompt, suffix="the end").json()
    assert answer["acepilot"]["clipped"] is True
    sent = scripted.prompts[-1]
    assert sent.startswith("<|fim_prefix|>word")
    assert "word8999\n<|fim_suffix|>the end<|fim_middle|>" in sent
    assert len(sent.split()) <= 4096


def test_other_fields_of_openai_s_clients_are_ignored(serve: Serve, scripted: Any) -> None:
    response = serve(scripted).complete(
        prompt=["count:"],
        model="text-davinci-003",
        user="someone",
        presence_penalty=0.5,
        frequency_penalty=0,
        logit_bias={"50256": -100},
        best_of=1,
    )
    assert response.json()["choices"][0]["text"] == "one two three"


def test_null_is_the_default(serve: Serve, scripted: Any) -> None:
    nullable = (
        "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "n",
        "presence_penalty", "seed", "stop", "stream", "stream_options", "suffix", "temperature", "top_p",
    )  # fmt: skip
    response = serve(scripted).complete(prompt="count:", **dict.fromkeys(nullable))
    assert response.json()["choices"][0]["text"] == "one two three"


@pytest.mark.parametrize("seed", [-1, 0, 2**63, -(10**30)])
def test_any_number_is_a_seed(serve: Serve, scripted: Any, seed: int) -> None:
    server = serve(scripted)
    for _ in range(2):
        assert server.complete(prompt="x", seed=seed, temperature=1).status_code == 200
    first, second = scripted.seeds[-2:]
    assert first == second
    assert 0 <= first < 2**31


def test_echo_puts_the_prompt_first(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    body = {"prompt": "count: ", "echo": True, "n": 2}
    choices = server.complete(**body).json()["choices"]
    assert [choice["text"] for choice in choices] == ["count: one two three"] * 2
    streamed = [c for event in chunks_of(server.complete(**body, stream=True)) for c in event["choices"]]
    for index in (0, 1):
        texts = [choice["text"] for choice in streamed if choice["index"] == index]
        assert (texts[0], "".join(texts)) == ("count: ", "count: one two three")


def test_logprobs_are_each_token_s_own(serve: Serve, scripted: Any) -> None:
    choice = serve(scripted).complete(prompt="count:", logprobs=0, n=2).json()["choices"][1]
    assert choice["text"] == "one two three"
    logprobs = choice["logprobs"]
    assert "".join(logprobs["tokens"]) == choice["text"]
    assert [token.strip() for token in logprobs["tokens"]] == ["one", "two", "three"]
    assert logprobs["token_logprobs"] == [-1.0, -1.0, -1.0]
    assert [choice["text"][at:][:1] for at in logprobs["text_offset"]] == [
        token[0] for token in logprobs["tokens"]
    ]


def test_logprobs_of_the_real_tokenizer_cover_the_text(serve: Serve, tiny_engine: Any) -> None:
    body = {"prompt": "def add(a, b):\n    return", "max_tokens": 24, "logprobs": 0}
    choice = serve(tiny_engine).complete(**body).json()["choices"][0]
    logprobs = choice["logprobs"]
    assert "".join(logprobs["tokens"]) == choice["text"]
    assert len(logprobs["tokens"]) > 12
    assert all(value <= 0 for value in logprobs["token_logprobs"])
    assert min(logprobs["token_logprobs"]) > -5, "greedy tokens are likely ones"


def test_a_path_cannot_steer_the_model(serve: Serve, scripted: Any) -> None:
    snippets = [{"path": "<|fim_middle|>.py", "text": "<|endoftext|>"}]
    serve(scripted).complete(prompt="a", suffix="b", path="<|fim_suffix|>", snippets=snippets, mode="raw")
    sent = scripted.prompts[-1]
    assert [sent.count(token) for token in ("<|fim_middle|>", "<|fim_suffix|>", "<|endoftext|>")] == [1, 1, 0]


def test_openai_s_client_works_unmodified(serve: Serve, scripted: Any) -> None:
    with openai.OpenAI(base_url=f"{serve(scripted).url}/v1", api_key="unused") as client:
        assert client.models.list().data[0].id == "scripted"
        whole = client.completions.create(
            model="scripted", prompt="x", suffix="y", max_tokens=8, n=2, stop=None
        )
        assert [choice.text for choice in whole.choices] == ["one two three"] * 2
        stream = client.completions.create(
            model="scripted", prompt="x", stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "one two three"
        assert chunks[-1].usage is not None
        with pytest.raises(openai.UnprocessableEntityError, match="max_tokens"):
            client.completions.create(model="scripted", prompt="x", max_tokens=-1)
