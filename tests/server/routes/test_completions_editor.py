"""An editor's requests to `/v1/completions`: filters, cache, early stops and the trail that explains them."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from acepilot.errors import EngineFailed
from server.options import ServiceOptions
from tests.event_stream import chunks_of

Serve = Callable[..., Any]


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


def test_an_empty_completion_has_a_reason(serve: Serve, scripted: Any) -> None:
    scripted.script = "   \n  "
    server = serve(scripted)
    answer = server.complete(prompt="x = ", suffix="\n", language="python").json()
    assert answer["choices"][0]["text"] == ""
    assert answer["acepilot"]["reason"].startswith("Nothing")
    assert server.metric("acepilot_completions_total", outcome="nothing") == 1


def test_an_unknown_id_is_404(serve: Serve, scripted: Any) -> None:
    assert serve(scripted).get("/v1/explain/cmpl-unknown").status_code == 404
