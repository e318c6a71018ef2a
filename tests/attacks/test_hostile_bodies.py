"""Requests that are small enough to be read, but made to keep the server from everybody else."""

import json
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from fastapi.routing import APIRoute

from acepilot.languages import LANGUAGES
from acepilot.postprocess.chain import finish
from acepilot.postprocess.context import Context
from acepilot.postprocess.mode import choose_mode
from acepilot.syntax import enclosing_blocks, parses
from server.options import ServiceOptions
from server.routes import chat, copilot, events, infill, openai, playground, status, tabby
from tests.server.conftest import RunningServer, ScriptedEngine

ROUTE_MODULES = (chat, copilot, events, infill, openai, playground, status, tabby)

GENEROUS_S = 2.5
"""Each attack took several times as long, and takes a small part of it now."""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(ScriptedEngine(), ServiceOptions()) as running:
        yield running


def seconds(work: Callable[[], object]) -> float:
    """Return the processor's time, which other programs of this machine do not change much."""
    began = time.process_time()
    work()
    return time.process_time() - began


def post(server: RunningServer, path: str, body: object) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    return httpx.post(f"{server.url}{path}", content=content, headers=headers, timeout=60)


BOMBS = {
    "brackets": "(" * 6000 + "}" * 6000,
    "brackets in an unfinished tag": "<a " + "(" * 12_000,
    "elements and brackets": "(<a>" + "[" * 4000 + ")" * 6000,
    "a script that does not end": "<SCRIPT" + ">" * 4000,
    "regular expressions that do not end": "=/[" * 4000 + "\n",
    "cases": "case " * 2400,
    "indentation": " " * 6000 + "(" * 6000,
    "lines below many blocks": "{\n" * 200 + "a\n" * 4000,
}


@pytest.mark.parametrize("language", ["html", "vue", "python", "typescript", "java"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_around_the_cursor_is_read_in_no_time(bomb: str, language: str) -> None:
    text = BOMBS[bomb]
    assert seconds(lambda: choose_mode(text, text, LANGUAGES[language])) < GENEROUS_S


@pytest.mark.parametrize("language", ["html", "typescript", "python", "ruby", "json"])
def test_a_model_that_is_made_to_write_a_bomb_costs_little(language: str) -> None:
    context = Context("x = (", ";\n", LANGUAGES[language], "block")
    for text in (")" * 900, "([{" * 300, ";" * 900, "<a" * 450, "\n" * 5000, " " * 5000, "a)\n" * 300):
        assert seconds(lambda text=text: finish(text, context, truncated=False)) < GENEROUS_S


UNITS = ("(", ")", "<a ", "<SCRIPT", "<!--", '"', "`", "${", "=/[", "\\", "\n", " ", "a ", "/*", ":)", "<a>")


@pytest.mark.parametrize("language", ["html", "typescript", "python", "rust"])
def test_four_times_the_text_takes_no_sixteen_times_as_long(language: str) -> None:
    """Measured within the window that is read, and on generated lines, whose length is limited, too."""

    def read(unit: str, chars: int) -> None:
        text = unit * (chars // len(unit))
        Context(f"x = {text}", f"\n{text}", LANGUAGES[language], "line").cursor  # noqa: B018

    for unit in UNITS:
        small = min(seconds(lambda unit=unit: read(unit, 2_500)) for _ in range(3))
        large = min(seconds(lambda unit=unit: read(unit, 10_000)) for _ in range(3))
        assert large < 8 * small + 0.02, unit


@pytest.mark.parametrize(
    ("language", "unit"),
    [("python", "-->"), ("css", "=>"), ("html", "<!--"), ("svelte", "${"), ("xml", "<A\n")],
)
def test_a_grammar_that_guesses_for_long_is_stopped(language: str, unit: str) -> None:
    text = unit * (10_000 // len(unit))
    assert seconds(lambda: enclosing_blocks(text, text, LANGUAGES[language])) < GENEROUS_S


def test_no_grammar_is_used_that_crashes_the_process() -> None:
    assert not parses(">" * 20_000, LANGUAGES["markdown"])
    assert not parses("`${" * 1_000, LANGUAGES["perl"])


def test_a_refusal_names_ten_of_many_wrong_fields_shortly(server: RunningServer) -> None:
    wrong = {f"k{number}" + "x" * 1000: 1 for number in range(80)}
    event = {"completion_id": "x", "kind": "shown", "at": 1.0, **wrong}
    answer = post(server, "/v1/events", {"events": [event]})
    message = answer.json()["error"]["message"]
    assert answer.status_code == 422
    assert message.endswith("; and 70 more")
    assert len(message) < 10 * 450


@pytest.mark.parametrize("path", ["/v1/events", "/v1/completions", "/v1/chat/completions", "/infill"])
def test_many_unknown_keys_are_refused_at_once_and_in_few_words(server: RunningServer, path: str) -> None:
    keys = {f"k{number}": 1 for number in range(200_000)}
    for body in (keys, {"events": [keys]}):
        began = time.monotonic()
        answer = post(server, path, body)
        assert answer.status_code == 422
        assert len(answer.content) < 1_000
        assert time.monotonic() - began < GENEROUS_S


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}] * 90_000}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}] * 3_000}),
        ("/infill", {"input_extra": [{"text": "x"}] * 200_000}),
        ("/infill", {"input_extra": [{"text": "x"}] * 5_000}),
        (
            "/v1/completions",
            {"segments": {"prefix": "", "declarations": [{"filepath": "", "body": ""}] * 3_000}},
        ),
        ("/v1/completions", {"prompt": list(range(500_000))}),
        ("/v1/events", {"events": [{}] * 1_000}),
    ],
)
def test_endless_lists_are_refused(server: RunningServer, path: str, body: dict[str, object]) -> None:
    answer = post(server, path, body)
    assert answer.status_code == 422
    assert len(answer.content) < 5_000


def test_what_a_string_holds_does_not_count_as_values(server: RunningServer) -> None:
    text = '[{"a": "b\\\\"}, ' * 30_000
    assert post(server, "/v1/completions", {"prompt": text, "max_tokens": 1}).status_code == 200


@pytest.mark.parametrize(
    "hidden", ["[" * 60_000, '"\\\\",' * 60_000, '"\\"",' * 60_000, '"\\\\\\"",' * 60_000]
)
def test_quotes_and_backslashes_hide_no_values(server: RunningServer, hidden: str) -> None:
    answer = post(server, "/v1/completions", f'{{"prompt": [{hidden}1]}}'.encode())
    assert "values" in answer.json()["error"]["message"]


def test_every_route_with_a_body_limits_its_values() -> None:
    routes = [route for module in ROUTE_MODULES for route in module.router.routes]
    with_body = [route for route in routes if isinstance(route, APIRoute) and route.body_field is not None]
    assert len(with_body) >= 5
    assert all(type(route).__name__ == "JsonRoute" for route in with_body)


def test_others_are_answered_while_a_bomb_is_read(server: RunningServer) -> None:
    from bench.hardening.hostile import measure, sample

    stalls = [measure(server.port, attack, tries=2) for attack in sample(3, seed=1)]
    assert max(stall.stall_ms for stall in stalls) < 1_000
