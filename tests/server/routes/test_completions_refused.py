"""Requests to `/v1/completions` that are refused, and what the answer says."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

Serve = Callable[..., Any]


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


def test_more_choices_than_ever_fit_are_422(serve: Serve, scripted: Any) -> None:
    response = serve(scripted, max_streams=2, max_waiting=0).complete(prompt="x", n=3)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "n"
