"""llama.cpp's `/infill`: the requests of llama.vim and llama.vscode, and the fields that they read."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource

Serve = Callable[..., Any]

LLAMA_VIM = {
    "id_slot": 0,
    "input_prefix": "def add(a, b):\n",
    "prompt": "    return ",
    "input_suffix": "\n\nprint(add(1, 2))\n",
    "input_extra": [{"text": "def sub(a, b):\n    return a - b\n", "time": [1, 2], "filename": "sub.py"}],
    "n_predict": 128,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.90,
    "samplers": ["top_k", "top_p", "infill"],
    "stream": False,
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 250,
    "response_fields": ["content", "timings/prompt_n", "timings/predicted_ms", "truncated", "tokens_cached"],
}

LLAMA_VIM_WARM_UP = {
    "id_slot": 0,
    "input_prefix": "",
    "input_suffix": "",
    "input_extra": LLAMA_VIM["input_extra"],
    "prompt": "",
    "n_predict": 0,
    "temperature": 0.0,
    "samplers": [],
    "stream": False,
    "cache_prompt": True,
    "t_max_prompt_ms": 1,
    "t_max_predict_ms": 1,
    "response_fields": [""],
}

LLAMA_VSCODE = {
    **{name: LLAMA_VIM[name] for name in LLAMA_VIM if name not in ("stop", "response_fields")},
    "n_cmpl": 3,
    "top_p": 0.99,
    "lora": [{"id": 0, "scale": 0.5}],
    "model": "some-other-model",
}


def infill(server: Any, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{server.url}/infill", json=body, timeout=30)


def test_llama_vim_s_request_has_the_line_the_suffix_and_the_chunks(serve: Serve, scripted: Any) -> None:
    scripted.script = "a + b\n\ndef more(): ..."
    server = serve(scripted)
    response = infill(server, LLAMA_VIM)
    assert b'"content":"a + b"' in response.content, "llama.vim searches for exactly this, without a space"
    assert b"\n" not in response.content, "Vim passes an answer on line by line"
    answer = response.json()
    assert set(answer) == {"id", "content", "timings/prompt_n", "timings/predicted_ms", "truncated"}
    assert answer["timings/prompt_n"] > 5
    prompt = scripted.prompts[-1]
    assert "sub.py\ndef sub(a, b):\n    return a - b\n" in prompt
    assert "def add(a, b):\n    return <|fim_suffix|>\n\nprint(add(1, 2))\n" in prompt
    trail = server.get(f"/v1/explain/{answer['id']}").json()
    assert (trail["mode"], trail["prompt"]["snippets_used"]) == ("line", 1)


def test_llama_vscode_s_request_is_answered_in_full(serve: Serve, scripted: Any) -> None:
    scripted.script = "a + b"
    response = infill(serve(scripted), LLAMA_VSCODE)
    answer = response.json()
    assert (answer["content"], answer["model"], answer["stop"]) == ("a + b", "scripted", True)
    assert answer["tokens_predicted"] == answer["timings"]["predicted_n"] == 3
    assert set(answer["timings"]) == {
        f"{part}_{name}"
        for part in ("prompt", "predicted")
        for name in ("n", "ms", "per_token_ms", "per_second")
    }
    assert response.content.startswith(b'{"content":"a + b",')


def test_a_warm_up_lays_the_chunks_out_as_the_next_request_does(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    answer = infill(server, LLAMA_VIM_WARM_UP)
    assert answer.status_code == 200
    shared = scripted.prompts[-1].partition("<|fim_suffix|>")[0]
    assert "sub.py\ndef sub(a, b):\n    return a - b\n" in shared
    infill(server, LLAMA_VIM)
    assert scripted.prompts[-1].startswith(shared)


def test_a_warm_up_has_empty_content(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    answer = infill(server, {**LLAMA_VIM, "n_predict": 0, "response_fields": []}).json()
    assert (answer["content"], answer["tokens_predicted"]) == ("", 0)
    assert answer["timings"]["prompt_n"] > 5
    assert "read ahead" in server.get(f"/v1/explain/{answer['id']}").json()["reason"]
    assert infill(server, LLAMA_VIM).json()["content"], "the empty answer must not have been cached"


def test_a_time_limit_ends_with_a_whole_line(serve: Serve, scripted: Any) -> None:
    scripted.step_s = 0.02
    scripted.script = " ".join(f"let a{number} = {number};\n" for number in range(200))
    body = {"input_prefix": "f()\n{\n", "input_suffix": "\n}\n", "n_predict": 900, "t_max_predict_ms": 300}
    answer = infill(serve(scripted), body).json()
    lines = answer["content"].split("\n")
    assert 1 <= len(lines) < 100
    assert all(line.endswith(";") for line in lines)
    assert answer["stop_type"] == "limit"


def test_an_answer_from_the_cache_took_no_time(serve: Serve, scripted: Any) -> None:
    scripted.script = "a + b"
    server = serve(scripted)
    first, second = (infill(server, LLAMA_VSCODE).json() for _ in range(2))
    assert first["content"] == second["content"] == "a + b"
    assert second["timings"]["predicted_ms"] == 0


@pytest.mark.parametrize("n_predict", [-1, 10**9])
def test_an_endless_prediction_is_limited(serve: Serve, scripted: Any, n_predict: int) -> None:
    scripted.info = type(scripted.info)("scripted", "scripted", 100_000, None, frozenset())
    assert infill(serve(scripted), {**LLAMA_VIM, "n_predict": n_predict}).status_code == 200


def test_a_short_context_keeps_half_for_the_prompt(serve: Serve, scripted: Any) -> None:
    scripted.info = replace(scripted.info, context_tokens=2_048)
    server = serve(scripted)
    long = " ".join(f"word{number}" for number in range(3_000))
    answer = infill(server, {**LLAMA_VSCODE, "input_prefix": long, "n_predict": 10**9})
    assert answer.status_code == 200
    assert scripted.max_tokens == 1_024
    assert 900 < answer.json()["tokens_evaluated"] < 1_024


def test_null_is_the_default(serve: Serve, scripted: Any) -> None:
    scripted.script = "a + b"
    given = {"input_prefix": LLAMA_VIM["input_prefix"], "prompt": LLAMA_VIM["prompt"]}
    nulls = dict.fromkeys(
        ["input_suffix", "input_extra", "n_predict", "temperature", "top_p", "seed", "stop", "stream"]
    )
    assert infill(serve(scripted), {**nulls, **given}).json()["content"] == "a + b"


def test_a_stream_is_one_event(serve: Serve, scripted: Any) -> None:
    scripted.script = "a + b"
    response = infill(serve(scripted), {**LLAMA_VSCODE, "stream": True})
    [event] = [sent.json() for sent in EventSource(response).iter_sse()]
    assert (event["content"], event["stop"]) == ("a + b", True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input_prefix": 5}, "input_prefix"),
        ({"input_prefix": "x", "input_extra": [{"filename": "secret"}]}, "input_extra.0.text"),
        ({"input_prefix": "x", "temperature": 99}, "temperature"),
    ],
)
def test_a_bad_body_names_the_field(serve: Serve, scripted: Any, body: dict[str, object], field: str) -> None:
    response = infill(serve(scripted), body)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == field
    assert "secret" not in response.text
