"""Tabby's protocol, as its agent uses it; tests/e2e runs the real agent."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

Serve = Callable[..., Any]

SEGMENTS = {"prefix": "def add(a, b):\n    return ", "suffix": "\n"}


def test_segments_are_filtered_for_an_editor_and_explained(serve: Serve, scripted: Any) -> None:
    scripted.script = "a + b\nprint(add(1, 2))"
    server = serve(scripted)
    answer = server.complete(language="python", segments=SEGMENTS).json()
    assert answer == {"id": answer["id"], "choices": [{"index": 0, "text": "a + b"}]}
    trail = server.get(f"/v1/explain/{answer['id']}").json()
    assert (trail["mode"], trail["language"]) == ("line", "python")


def test_all_fields_of_tabby_s_agent_are_understood(serve: Serve, scripted: Any) -> None:
    segments = {
        **SEGMENTS,
        "suffix": "\nprint(1)\n",
        "filepath": "src/sum.py",
        "git_url": "https://git.example/sum.git",
        "declarations": [{"filepath": "src/types.py", "body": "class Declared: ..."}],
        "relevant_snippets_from_changed_files": [
            {"filepath": "src/one.py", "body": "most_relevant = 1", "score": 2.5},
            {"filepath": "src/two.py", "body": "less_relevant = 2", "score": 1.5},
        ],
        "relevant_snippets_from_recently_opened_files": [
            {"filepath": "src/seen.py", "body": "seen = 3", "score": 1}
        ],
        "clipboard": "secret_from_the_clipboard",
    }
    body = {"language": "python", "segments": segments, "user": "me", "temperature": 0.8, "seed": 7}
    server = serve(scripted)
    assert server.complete(**body).status_code == 200
    prompt = scripted.prompts[-1]
    order = ["seen = 3", "less_relevant", "most_relevant", "Declared", "src/sum.py", "def add", "print(1)"]
    found = [prompt.index(text) for text in order]
    assert found == sorted(found), "the most helpful snippet stands next to the code"
    assert "clipboard" not in prompt
    assert "git.example" not in prompt
    assert scripted.seeds[-1] == 7


def test_a_language_is_guessed_from_the_path(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    answer = server.complete(segments={**SEGMENTS, "filepath": "sum.py"}).json()
    assert server.get(f"/v1/explain/{answer['id']}").json()["language"] == "python"


def test_windows_line_ends_come_back(serve: Serve, scripted: Any) -> None:
    scripted.script = "let a = 1;\n    let b = 2;"
    segments = {"prefix": "function f() {\r\n    ", "suffix": "\r\n}\r\n"}
    answer = serve(scripted).complete(language="javascript", segments=segments).json()
    assert answer["choices"][0]["text"] == "let a = 1;\r\n    let b = 2;"
    assert "\r" not in scripted.prompts[-1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"segments": {"suffix": "x"}}, "segments.prefix"),
        ({"segments": None}, "segments"),
        (
            {"segments": {"prefix": "my secret code", "declarations": [{}]}},
            "segments.declarations.0.filepath",
        ),
        ({"segments": {"prefix": 5}}, "segments.prefix"),
        ({"segments": SEGMENTS, "temperature": 9}, "temperature"),
        ({"segments": SEGMENTS, "mode": "next_edit_suggestion"}, "mode"),
    ],
)
def test_errors_name_tabby_s_fields(serve: Serve, scripted: Any, body: dict[str, object], field: str) -> None:
    response = serve(scripted).complete(**body)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == field
    assert "secret" not in response.text


def test_without_segments_it_is_openai_s(serve: Serve, scripted: Any) -> None:
    answer = serve(scripted).complete(language="python", prompt="x = ").json()
    assert answer["object"] == "text_completion"


def test_health_and_settings_as_the_agent_reads_them(serve: Serve, scripted: Any) -> None:
    server = serve(scripted)
    health = server.get("/v1/health").json()
    assert httpx.post(f"{server.url}/v1/health").json() == health, "agents ask older servers with POST"
    assert (health["model"], health["device"], health["chat_model"]) == ("scripted", "scripted", None)
    assert health["cpu_count"] >= 1
    # Agents ask for settings from 0.9.0 on; without settings they report usage to Tabby's makers.
    assert health["version"]["git_describe"].startswith("v0.9.0-acepilot-")
    assert server.get("/v1beta/server_setting").json() == {"disable_client_side_telemetry": True}


def test_tabby_needs_the_token_too(serve: Serve, scripted: Any) -> None:
    server = serve(scripted, token="s3cret")
    assert server.get("/v1/health").status_code == 401
    assert server.get("/v1beta/server_setting").status_code == 401
    assert server.complete(segments=SEGMENTS).status_code == 401
    assert server.get("/v1/health", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_the_schema_has_both_shapes(serve: Serve, scripted: Any) -> None:
    schema = serve(scripted).get("/openapi.json").json()
    body = schema["paths"]["/v1/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    shapes = [shape["$ref"].rpartition("/")[2] for shape in body["anyOf"]]
    assert shapes == ["CompletionRequest", "TabbyRequest"]
