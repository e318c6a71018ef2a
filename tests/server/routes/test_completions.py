"""`POST /v1/completions` through a real port, on an engine that plays a script."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from acepilot.errors import EngineFailed
from server.options import ServiceOptions
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


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": "x", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "x", "max_tokens": 4096}, "max_tokens"),
        ({"prompt": "x", "temperature": "hot"}, "temperature"),
        ({"prompt": "x", "n": 99}, "n"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": "x", "time_limit_ms": -1}, "time_limit_ms"),
        ({"prompt": "x", "stop": [""]}, "stop.0"),
        ({"prompt": "x", "snippets": [{"path": "a"}]}, "snippets.0.text"),
        ({"prompt": ""}, "prompt"),
    ],
)
def test_a_bad_body_names_the_field(serve: Serve, scripted: Any, body: dict[str, object], field: str) -> None:
    response = serve(scripted).complete(**body)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == field
    assert not scripted.prompts[1:], "the engine got a request (the first prompt is the warm-up)"


def test_a_bad_body_is_not_echoed(serve: Serve, scripted: Any) -> None:
    response = serve(scripted).complete(prompt=["my secret code", "b"])
    assert "secret" not in response.text


NOTHING_YET = "Nothing: there is nothing to go on from yet."


@pytest.mark.parametrize(
    ("path", "body", "text_of"),
    [
        ("/v1/completions", {"prompt": "", "path": "new.py"}, lambda answer: answer["choices"][0]["text"]),
        (
            "/v1/completions",
            {"segments": {"prefix": ""}, "language": "python"},
            lambda answer: answer["choices"][0]["text"],
        ),
        ("/infill", {}, lambda answer: answer["content"]),
    ],
)
def test_an_editor_at_the_beginning_of_a_new_file_gets_nothing_and_why(
    serve: Serve, scripted: Any, path: str, body: dict[str, object], text_of: Callable[[Any], str]
) -> None:
    server = serve(scripted)
    response = httpx.post(f"{server.url}{path}", json=body)
    assert response.status_code == 200
    assert text_of(response.json()) == ""
    assert server.get(f"/v1/explain/{response.json()['id']}").json()["reason"] == NOTHING_YET
    assert not scripted.prompts[1:], "the engine got a request (the first prompt is the warm-up)"


def test_without_fill_in_the_middle_a_file_s_first_character_has_nothing_before_it(
    serve: Serve, scripted: Any
) -> None:
    scripted.info = replace(scripted.info, fim=None)
    body = {"prompt": "", "suffix": "\nprint(1)\n", "language": "python", "stream": True}
    *_, last = chunks_of(serve(scripted, suffix_candidates=2).complete(**body))
    assert (last["acepilot"]["text"], last["acepilot"]["reason"]) == ("", NOTHING_YET)


def test_a_body_that_is_not_json_is_422(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    response = httpx.post(
        f"{server.url}/v1/completions", content=b"{oops", headers={"content-type": "application/json"}
    )
    assert response.status_code == 422


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"best_of": 3}, "ask for `n` candidates"),
        ({"logprobs": 3}, "`logprobs` above 0"),
        ({"logprobs": 0, "stream": True}, "leave out"),
        ({"logprobs": 0, "language": "python"}, "leave out"),
        ({"logprobs": 0, "echo": True}, "leave out"),
        ({"echo": True, "suffix": "y"}, "`echo` does not go with `suffix`"),
        ({"echo": True, "path": "a.py"}, "`echo` does not go with `suffix`"),
        ({"prompt": [1, 2, 3]}, "token numbers are not supported"),
        ({"prompt": [[1, 2, 3]]}, "token numbers are not supported"),
        ({"prompt": ["a", "b"]}, "a request has one prompt"),
    ],
)
def test_unsupported_fields_are_refused_with_a_sentence(
    serve: Serve, scripted: Any, body: dict[str, object], sentence: str
) -> None:
    response = serve(scripted).complete(**{"prompt": "x", **body})
    assert response.status_code == 422
    assert sentence in response.json()["error"]["message"]


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


def test_max_tokens_0_reads_the_prompt_ahead(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    answer = server.complete(prompt="x = ", suffix="\n", language="python", max_tokens=0).json()
    assert answer["choices"][0] == {"index": 0, "text": "", "finish_reason": "length", "logprobs": None}
    assert answer["usage"]["completion_tokens"] == 0
    assert "read ahead" in server.get(f"/v1/explain/{answer['id']}").json()["reason"]
    warmed = scripted.prompts[-1]
    steps = scripted.steps
    later = server.complete(prompt="x = ", suffix="\n", language="python").json()
    assert later["choices"][0]["text"]
    assert scripted.prompts[-1] == warmed
    assert scripted.steps > steps, "an empty answer must not have been cached"


@pytest.mark.parametrize("language", ["javascript", None])
def test_a_time_limit_ends_with_the_last_whole_line(
    serve: Serve, scripted: Any, language: str | None
) -> None:
    scripted.step_s = 0.02
    scripted.script = " ".join(f"let a{number} = {number};\n" for number in range(200))
    server = serve(scripted)
    answer = server.complete(
        prompt="{\n", suffix="\n}\n", language=language, max_tokens=2000, time_limit_ms=300
    ).json()
    lines = answer["choices"][0]["text"].rstrip("\n").split("\n")
    assert 1 <= len(lines) < 100
    assert all(line.strip().startswith("let") and line.endswith(";") for line in lines)
    assert answer["choices"][0]["finish_reason"] == "length"
    trail = server.get(f"/v1/explain/{answer['id']}").json()
    assert trail["early_stop"] == "time_limit"
    assert server.wait_for(lambda: scripted.open_streams == 0)


def test_a_time_limit_waits_for_the_first_line(serve: Serve, scripted: Any) -> None:
    scripted.step_s = 0.01
    scripted.script = "a and b and c\nd and e and f"
    answer = serve(scripted).complete(prompt="x = ", time_limit_ms=1).json()
    assert answer["choices"][0]["text"] == "a and b and c\n"


def test_a_full_queue_is_429_with_retry_after(serve: Serve, scripted: Any) -> None:
    scripted.step_s = 0.05
    scripted.script = "w " * 40
    server = serve(scripted, max_streams=1, max_waiting=1)
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(server.complete(prompt="x"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200, 200, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert "try again" in refused.json()["error"]["message"]


def test_a_wait_in_the_queue_is_limited(serve: Serve, scripted: Any) -> None:
    scripted.script, scripted.step_s = "word " * 30, 0.05
    server = serve(scripted, ServiceOptions(queue_timeout_s=0.2), max_streams=1, max_waiting=4)
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(server.complete, prompt="a")
        assert server.wait_for(lambda: server.metric("acepilot_active_requests") == 1)
        for stream in (False, True):
            refused = server.complete(prompt="b", stream=stream)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
            assert "max_streams" in refused.json()["error"]["message"]
        assert long.result().status_code == 200
    assert server.metric("acepilot_waiting_requests") == 0
    assert server.complete(prompt="c", max_tokens=1).status_code == 200


@pytest.mark.parametrize("n", [1, 2])
def test_a_completion_is_limited_when_the_engine_hangs(serve: Serve, scripted: Any, n: int) -> None:
    server = serve(scripted, ServiceOptions(completion_timeout_s=0.2))
    scripted.step_s = 20.0
    late = server.complete(prompt="x", n=n)
    assert (late.status_code, late.json()["error"]["code"]) == (500, "completion_too_slow")
    assert server.wait_for(lambda: scripted.open_streams == 0)
    assert server.metric("acepilot_active_requests") == 0
    scripted.step_s = 0.0
    assert server.complete(prompt="x").status_code == 200


def test_a_stream_that_takes_too_long_ends_with_an_error(serve: Serve, scripted: Any) -> None:
    server = serve(scripted, ServiceOptions(completion_timeout_s=0.4))
    scripted.script, scripted.step_s = "word " * 1_000, 0.02
    stream = server.complete(prompt="x", stream=True, max_tokens=1_000).text
    assert stream.index('"word"') < stream.index('"completion_too_slow"')
    assert "[DONE]" not in stream


def test_a_client_that_stops_reading_loses_its_place(serve: Serve, scripted: Any) -> None:
    server = serve(scripted, ServiceOptions(completion_timeout_s=1.0, last_event_timeout_s=0.1))
    more_than_any_buffer = "\x01" * 2_000_000  # six bytes each, in JSON
    body = json.dumps({"prompt": more_than_any_buffer, "echo": True, "stream": True}).encode()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        assert server.wait_for(
            lambda: server.metric("acepilot_completions_total", outcome="cancelled") == 1, within_s=20
        )
        assert (server.metric("acepilot_active_requests"), scripted.open_streams) == (0, 0)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_place_within_a_step(
    serve: Serve, scripted: Any, stream: bool
) -> None:
    scripted.step_s = 0.05
    scripted.script = "w " * 2000
    server = serve(scripted)
    body = {"prompt": "x", "max_tokens": 2000, "stream": stream}
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        payload = json.dumps(body).encode()
        client.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(payload), payload)
        )
        assert server.wait_for(lambda: scripted.steps > 3)
    assert server.wait_for(lambda: scripted.open_streams == 0)
    steps = scripted.steps
    assert server.wait_for(lambda: server.metric("acepilot_wasted_tokens_total") > 0)
    assert scripted.steps <= steps + 1
    assert server.metric("acepilot_active_requests") == 0
    assert server.metric("acepilot_completions_total", outcome="cancelled") == 1


def test_an_engine_that_fails_is_500_and_the_next_request_is_answered(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    scripted.fails_after = 1
    response = server.complete(prompt="x")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "engine_failed"
    streamed = server.complete(prompt="x", stream=True).text
    assert streamed.index('"one"') < streamed.index('"engine_failed"')
    assert "[DONE]" not in streamed
    scripted.fails_after = 0
    assert server.complete(prompt="x", stream=True).status_code == 500
    scripted.fails_after = None
    assert server.complete(prompt="x").status_code == 200


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (EngineFailed("The worker has ended."), "Nothing: The worker has ended."),
        (ValueError("password = 1"), "Nothing: an unexpected error"),
    ],
)
def test_a_trail_quotes_only_our_own_errors(
    serve: Serve, scripted: Any, failure: Exception, reason: str
) -> None:
    """Any other exception's text could hold the user's code."""
    server = serve(scripted)
    scripted.fails_after, scripted.failure = 1, failure
    body = {"prompt": "x", "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/completions", json=body) as response:
        lines = response.iter_lines()
        chunk = json.loads(next(lines).removeprefix("data: "))
        with contextlib.suppress(httpx.RemoteProtocolError):
            list(lines)
    trail = server.get(f"/v1/explain/{chunk['id']}").json()
    assert trail["reason"].startswith(reason)
    assert "password" not in str(trail)


def test_without_a_cache_every_request_reaches_the_engine(serve: Serve, scripted: Any) -> None:
    server = serve(scripted, ServiceOptions(cache_entries=0))
    for count in (2, 3):  # the first prompt is the warm-up
        assert server.complete(prompt="x = ", suffix="\n", language="python").status_code == 200
        assert len(scripted.prompts) == count


def test_without_early_stops_the_model_runs_to_its_end(serve: Serve, scripted: Any) -> None:
    scripted.script = "a + b\nprint(add(1, 2))"
    body = {"prompt": "def add(a, b):\n    return ", "suffix": "\n", "language": "python"}
    server = serve(scripted, ServiceOptions(early_stops=()))
    answer = server.complete(**body).json()
    assert answer["choices"][0]["text"] == "a + b", "the filters work all the same"
    assert answer["usage"]["completion_tokens"] == len(scripted.script.split(" "))
    assert server.get(f"/v1/explain/{answer['id']}").json()["early_stop"] is None


def test_an_editor_s_request_is_filtered_cached_and_explained(serve: Serve, scripted: Any) -> None:
    scripted.script = "a + b\nprint(add(1, 2))"
    server = serve(scripted)
    body = {"prompt": "def add(a, b):\n    return ", "suffix": "\n", "language": "python"}
    first, second = server.complete(**body).json(), server.complete(**body).json()
    assert first["choices"][0]["text"] == "a + b"
    assert second["choices"][0]["text"] == "a + b"
    trail, cached = (server.get(f"/v1/explain/{answer['id']}").json() for answer in (first, second))
    assert (trail["mode"], trail["cache"], trail["language"]) == ("line", "none", "python")
    assert trail["early_stop"]
    assert trail["prompt"]["fim"] is None
    assert trail["reason"].startswith("Offered")
    assert cached["cache"] == "response"
    assert cached["generated_tokens"] == 0
    assert server.metric("acepilot_cache_hits_total", source="response") == 1
    typed = server.complete(**{**body, "prompt": body["prompt"] + "a "}).json()
    assert typed["choices"][0]["text"] == "+ b"
    assert server.get(f"/v1/explain/{typed['id']}").json()["cache"] == "typed_through"


def test_the_cache_keeps_files_apart(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    tail = "x = 1\n" * 8 + "y = "
    for head in ("import a\n", "import b\n"):
        scripted.script = f"from_{head[7]}"
        answer = server.complete(prompt=head + tail, suffix="\n", language="python").json()
        assert answer["choices"][0]["text"] == f"from_{head[7]}"


def test_a_text_cut_off_by_max_tokens_is_not_cached(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    for _ in range(2):
        answer = server.complete(prompt="x = ", suffix="\n", language="python", max_tokens=2).json()
        assert answer["choices"][0]["finish_reason"] == "length"


def test_more_choices_than_ever_fit_are_422(serve: Serve, scripted: Any) -> None:
    response = serve(scripted, max_streams=2, max_waiting=0).complete(prompt="x", n=3)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "n"


def test_a_path_cannot_steer_the_model(serve: Serve, scripted: Any) -> None:
    snippets = [{"path": "<|fim_middle|>.py", "text": "<|endoftext|>"}]
    serve(scripted).complete(prompt="a", suffix="b", path="<|fim_suffix|>", snippets=snippets, mode="raw")
    sent = scripted.prompts[-1]
    assert [sent.count(token) for token in ("<|fim_middle|>", "<|fim_suffix|>", "<|endoftext|>")] == [1, 1, 0]


def test_an_empty_completion_has_a_reason(serve: Serve, scripted: Any) -> None:
    scripted.script = "   \n  "
    server = serve(scripted)
    answer = server.complete(prompt="x = ", suffix="\n", language="python").json()
    assert answer["choices"][0]["text"] == ""
    assert answer["acepilot"]["reason"].startswith("Nothing")
    assert server.metric("acepilot_completions_total", outcome="nothing") == 1


def test_an_unknown_id_is_404(serve: Serve, scripted: Any) -> None:
    assert serve(scripted).get("/v1/explain/cmpl-unknown").status_code == 404


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
