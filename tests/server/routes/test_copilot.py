"""`POST /v1/engines/{engine}/completions`, as Copilot-style plugins send it."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.event_stream import chunks_of

Serve = Callable[..., Any]

COPILOT = {
    "prompt": "# Path: sum.py\ndef add(a, b):\n    return ",
    "suffix": "\n",
    "max_tokens": 50,
    "temperature": 0,
    "top_p": 1,
    "n": 1,
    "stop": ["\n\n\n"],
    "logprobs": 2,
    "nwo": "someone/something",
    "stream": True,
    "extra": {"language": "python", "next_indent": 4, "trim_by_indentation": True},
}


def ask(server: Any, **changes: object) -> httpx.Response:
    body = {**COPILOT, **changes}
    return httpx.post(f"{server.url}/v1/engines/copilot-codex/completions", json=body, timeout=30)


def test_the_stream_has_filtered_text(serve: Serve, scripted: Any) -> None:
    scripted.script = "a + b\nprint(add(1, 2))"
    server = serve(scripted)
    chunks = chunks_of(ask(server))
    assert [choice["text"] for chunk in chunks for choice in chunk["choices"]] == ["a + b"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    trail = server.get(f"/v1/explain/{chunks[0]['id']}").json()
    assert (trail["mode"], trail["language"]) == ("line", "python")


def test_a_panel_of_ten_gets_eight(serve: Serve, scripted: Any) -> None:
    answer = ask(serve(scripted), n=10, temperature=0.8, stream=False).json()
    assert [choice["index"] for choice in answer["choices"]] == list(range(8))


@pytest.mark.parametrize("extra", [None, {}, {"language": None}, "python", ["python"]])
def test_without_a_language_it_is_filtered_all_the_same(serve: Serve, scripted: Any, extra: object) -> None:
    scripted.script = "a + b\nprint(add(1, 2))"
    answer = ask(serve(scripted), extra=extra, stream=False).json()
    assert answer["choices"][0]["text"] == "a + b"


@pytest.mark.parametrize("body", [[], "x", None, {"n": "many", "prompt": "x"}, {"extra": {"language": 5}}])
def test_a_wrong_body_is_422(serve: Serve, scripted: Any, body: object) -> None:
    url = f"{serve(scripted).url}/v1/engines/x/completions"
    assert httpx.post(url, json=body).status_code == 422
