"""Requests that are small enough to be read, but made to keep the server from everybody else."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from acepilot.languages import LANGUAGES
from acepilot.postprocess.chain import STOPS, finish
from acepilot.postprocess.context import Context, locate
from acepilot.postprocess.mode import choose_mode
from acepilot.syntax import enclosing_blocks, parses
from server.engine.base import Delta
from server.log_probs import log_probs
from server.options import ServiceOptions
from server.routes import chat, copilot, events, infill, openai, playground, status, tabby
from server.stop_monitor import StopMonitor
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
    assert seconds(lambda: choose_mode(locate(text, text, LANGUAGES[language]))) < GENEROUS_S


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


def test_a_name_of_a_million_parts_is_refused(server: RunningServer) -> None:
    body = {"input_prefix": "x", "n_predict": 1, "response_fields": ["/" * 3_900_000]}
    answer = post(server, "/infill", body)
    assert answer.status_code == 422
    assert "64 characters" in answer.json()["error"]["message"]


def unlimited(schema: dict[str, Any], schemas: dict[str, Any], name: str) -> Iterator[str]:
    """Yield the names of the strings and lists that may be of any length."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = schemas[name]
    if schema.get("type") == "string" and not {"maxLength", "enum", "const"} & schema.keys():
        yield name
    if schema.get("type") == "array":
        if "maxItems" not in schema:
            yield f"{name}[]"
        yield from unlimited(schema["items"], schemas, name)
    for each in schema.get("anyOf", []) + schema.get("oneOf", []):
        yield from unlimited(each, schemas, name)
    for field, inner in schema.get("properties", {}).items():
        yield from unlimited(inner, schemas, f"{name}.{field}")


def test_no_request_has_a_string_or_list_of_any_length(server: RunningServer) -> None:
    document = server.app.openapi()
    schemas, found, bodies = document["components"]["schemas"], set[str](), 0
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if "requestBody" in operation:
                body = operation["requestBody"]["content"]["application/json"]["schema"]
                found.update(unlimited(body, schemas, path))
                bodies += 1
            for each in operation.get("parameters", []):
                found.update(unlimited(each["schema"], schemas, f"{path} {each['name']}"))
    assert bodies >= 5
    assert not found


def test_an_answer_does_not_repeat_a_long_prompt_eight_times(server: RunningServer) -> None:
    body = {"prompt": "\x01" * 640_000, "echo": True, "n": 8, "max_tokens": 1}
    for streams in (False, True):
        answer = post(server, "/v1/completions", {**body, "stream": streams})
        assert answer.status_code == 422
        assert "lower `n`" in answer.json()["error"]["message"]
    assert post(server, "/v1/completions", {**body, "prompt": "x" * 25_000}).status_code == 200


@pytest.mark.parametrize("number", ["1" * 4_300, "-" + "1" * 5_000, "1." + "1" * 5_000, "1e" + "1" * 5_000])
def test_numbers_of_thousands_of_digits_are_refused(server: RunningServer, number: str) -> None:
    body = f'{{"prompt": "x", "max_tokens": 1, "more": [{",".join([number] * 700)}]}}'
    answer = post(server, "/v1/completions", body.encode())
    assert answer.status_code == 422
    assert "digits" in answer.json()["error"]["message"]


def test_ordinary_numbers_are_read(server: RunningServer) -> None:
    body = b'{"prompt": "x", "temperature": 0.30000000000000004441, "seed": 340282366920938463463374607431}'
    assert post(server, "/v1/completions", body).status_code == 200


def test_long_stop_strings_are_searched_once() -> None:
    monitor = StopMonitor([chr(ord("A") + number) + "a" * 255 for number in range(16)], None, (), None)
    assert seconds(lambda: [monitor.feed(Delta("a", 1)) for _ in range(16_000)]) < GENEROUS_S
    assert not monitor.over


@pytest.mark.asyncio
async def test_log_probabilities_of_many_choices_give_others_their_turn() -> None:
    """A token as long as 150 spaces is cut at each of them before its end is found."""
    calls = 0

    class OneToken(ScriptedEngine):
        def count_tokens(self, text: str) -> int:
            nonlocal calls
            calls += 1
            return 1 if text else 0

    work = [asyncio.ensure_future(log_probs(OneToken(), "x", " " * 150, "")) for _ in range(8)]
    most = 0
    while not all(each.done() for each in work):
        before = calls
        await asyncio.sleep(0)
        most = max(most, calls - before)
    assert (await work[0]).tokens == [" " * 150]
    assert most < 300


def generate(context: Context, piece: str, count: int) -> StopMonitor:
    monitor = StopMonitor((), context, STOPS, None)
    for number in range(count):
        monitor.feed(Delta(piece.replace("0", str(number)), 1))
        if monitor.over:
            break
    return monitor


def test_each_generated_character_is_judged_without_reading_a_long_line_below() -> None:
    def judge(below: str) -> None:
        context = Context("case =/a/", f"\n{below}", LANGUAGES["plaintext"], "block")
        assert not generate(context, "\r\n<a '//", 500).over

    short = min(seconds(lambda: judge("a.")) for _ in range(3))
    long = min(seconds(lambda: judge("a." * 6_000)) for _ in range(3))
    assert long < 3 * short + 0.02


def test_what_is_generated_for_an_editor_ends_at_8000_characters() -> None:
    context = Context("x = (", "", LANGUAGES["plaintext"], "block")
    for piece in ("line 0 of a text\n", "0)\n", "0, ", "<a 0>\n"):
        monitor = generate(context, piece, 4_096)
        assert len(monitor.generated.text) < 8_200


FOUND_BY_CHANCE = {
    "csharp": ("`${" * 4_000, "${" * 6_000, "-->0\n"),
    "typescriptreact": ('<a "' * 3_000, "", "</script=>あ0\n"),
    "svelte": ("</script" * 400, "", "# -0"),
    "ruby": ("very " * 600, "", '"""0\n*/'),
    "java": ("\u200b" * 3_000, "<style" * 500, "{<script>a 0\n"),
    "python": ("x = [\n" * 2_000, "[=/]" * 3_000, "a<a><b>0\n"),
    "sql": ("</a>\n" * 2_400, "{" * 12_000, "/*0\n"),
    "dart": ("<script/>" * 300, 'a"\n' * 1_000, "<a     x0\n"),
    "julia": ("<|" * 1_500, "/*" * 1_500, "'b'(0\n"),
}
"""Text before and after the cursor, and the text of each token, found at random, that cost most."""


@pytest.mark.parametrize("language", FOUND_BY_CHANCE)
def test_no_token_costs_much_to_judge(language: str) -> None:
    before, after, piece = FOUND_BY_CHANCE[language]
    context = Context(before, f"\n{after}", LANGUAGES[language], "block")
    assert context.cursor is not None
    assert seconds(lambda: generate(context, piece, 4_096)) < GENEROUS_S


def test_others_are_answered_while_a_bomb_is_read(server: RunningServer) -> None:
    from bench.hardening.hostile import measure, sample

    stalls = [measure(server.port, attack, tries=2) for attack in sample(3, seed=1)]
    assert max(stall.stall_ms for stall in stalls) < 1_000
