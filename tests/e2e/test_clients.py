"""Other people's clients, unmodified, on the starter model: one URL is all that they are told."""

import contextlib
import mimetypes
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from playwright.sync_api import Page, Route, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.e2e.chromium import chromium
from tests.e2e.clients_install import entry_of, npm_folder, python_program
from tests.e2e.clients_tabby import JsonLinesAgent, LspAgent
from tests.e2e.fetched import Node
from tests.e2e.own_server import MODEL_LOAD_S, ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TABBY = "1.5.0"  # the only one that npm has here; it speaks both ways
PAGE = Path(__file__).with_name("clients_monacopilot.html")
SCREENSHOT = ROOT / "artifacts" / "monacopilot.png"

PREFIX, SUFFIX = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"


@pytest.fixture(scope="module")
def url(real_url: str) -> str:
    until = time.monotonic() + MODEL_LOAD_S
    while httpx.get(f"{real_url}/ready").status_code != 200:
        assert time.monotonic() < until, httpx.get(f"{real_url}/ready").text
        time.sleep(0.2)
    return real_url


def trail_of(url: str, completion_id: str) -> dict[str, Any]:
    response = httpx.get(f"{url}/v1/explain/{completion_id}")
    assert response.status_code == 200
    return response.json()


@pytest.fixture(scope="module")
def tabby() -> list[str]:
    modules = npm_folder(f"tabby-agent-{TABBY}", f"tabby-agent@{TABBY}")
    return [str(Node().program), str(entry_of(modules, "tabby-agent"))]


def test_tabby_s_agent_in_lines_of_json(url: str, tabby: list[str], tmp_path: Path) -> None:
    with JsonLinesAgent(tabby, tmp_path, url) as agent:
        assert agent.call("getStatus") == "ready"
        assert agent.call("getServerHealthState")["model"] == "starter"
        answer = agent.call(
            "provideCompletions",
            {"filepath": "add.py", "language": "python", "text": PREFIX + SUFFIX, "position": len(PREFIX)},
        )
        (choice,) = answer["choices"]
        assert choice["text"] == "a + b"
        trail = trail_of(url, answer["id"])
        assert (trail["language"], trail["mode"]) == ("python", "line")


def test_tabby_s_agent_as_a_language_server(url: str, tabby: list[str], tmp_path: Path) -> None:
    with LspAgent(tabby, tmp_path, url) as agent:
        document = {"uri": (tmp_path / "add.py").as_uri(), "languageId": "python", "version": 1}
        agent.tell("textDocument/didOpen", {"textDocument": {**document, "text": PREFIX + SUFFIX}})
        cursor = {"line": 1, "character": len("    return ")}
        answer = agent.ask(
            "textDocument/completion", {"textDocument": {"uri": document["uri"]}, "position": cursor}
        )
        (item,) = answer["items"]
        assert item["textEdit"] == {"newText": "a + b", "range": {"start": cursor, "end": cursor}}
        assert trail_of(url, item["data"]["completionId"])["language"] == "python"


def test_openai_s_client(url: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused") as client:
        model = client.models.list().data[0].id
        assert model == "starter"
        filled = client.completions.create(model=model, prompt=PREFIX, suffix=SUFFIX, max_tokens=8, stop="\n")
        assert filled.choices[0].text.strip() == "a + b"
        assert trail_of(url, filled.id)["prompt"]["fim"] == "qwen"
        whole = client.completions.create(model=model, prompt=PREFIX, max_tokens=8, temperature=0)
        stream = client.completions.create(
            model=model,
            prompt=PREFIX,
            max_tokens=8,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        assert len(chunks) > 3
        assert "".join(c.text for chunk in chunks for c in chunk.choices) == whole.choices[0].text
        assert chunks[-1].usage is not None
        several = client.completions.create(
            model=model, prompt=PREFIX, n=3, temperature=1.0, seed=3, max_tokens=12
        )
        assert len({choice.text for choice in several.choices}) > 1
        scored = client.completions.create(model=model, prompt=PREFIX, max_tokens=8, logprobs=0)
        logprobs = scored.choices[0].logprobs
        assert logprobs is not None
        assert "".join(logprobs.tokens or []) == scored.choices[0].text
        echoed = client.completions.create(model=model, prompt=PREFIX, max_tokens=2, echo=True)
        assert echoed.choices[0].text.startswith(PREFIX)
        with pytest.raises(openai.UnprocessableEntityError, match="best_of"):
            client.completions.create(model=model, prompt=PREFIX, best_of=2)
        chat = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": PREFIX}], max_tokens=8
        )
        assert chat.choices[0].message.content == whole.choices[0].text


MODELS_OF_LLM = """\
- model_id: acepilot
  model_name: starter
  api_base: "{url}/v1"
  completion: true
- model_id: acepilot-chat
  model_name: starter
  api_base: "{url}/v1"
"""


@pytest.mark.parametrize("model", ["acepilot", "acepilot-chat"])
@pytest.mark.parametrize("way", [[], ["--no-stream"]])
def test_llm_on_the_command_line(url: str, tmp_path: Path, model: str, way: list[str]) -> None:
    program = python_program("llm", "llm", "llm")
    (tmp_path / "extra-openai-models.yaml").write_text(MODELS_OF_LLM.format(url=url))
    done = subprocess.run(
        [str(program), "--model", model, *way, "--option", "max_tokens", "8", PREFIX.rstrip()],
        env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith("a + b")


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium() as browser:
        yield browser.new_page(viewport={"width": 760, "height": 220})


def test_monacopilot_in_a_page(url: str, page: Page) -> None:
    modules = npm_folder("monacopilot", "monacopilot@1.2.12", "monaco-editor@0.52.2")

    def from_disk(route: Route) -> None:
        path = route.request.url.removeprefix(f"{url}/e2e/")
        file = PAGE if path == "page.html" else modules / path
        kind = "text/javascript" if file.suffix == ".mjs" else mimetypes.guess_type(file.name)[0]
        route.fulfill(path=file, content_type=kind or "application/octet-stream")

    page.route(f"{url}/e2e/**", from_disk)
    page.goto(f"{url}/e2e/page.html")
    page.wait_for_function("window.editor !== undefined")
    page.wait_for_load_state("networkidle")  # Monaco drops what it asked for when its language arrives
    page.keyboard.insert_text("return ")
    ghost = page.locator(".ghost-text-decoration, .ghost-text").first
    for _ in range(
        4
    ):  # as a user does where nothing comes: on a busy machine the page may cancel its own request
        with contextlib.suppress(PlaywrightTimeout):
            ghost.wait_for(timeout=8_000)
            break
        page.evaluate("window.registration.trigger()")
    expect(ghost).to_contain_text("a + b")
    SCREENSHOT.parent.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOT)
    page.keyboard.press("Tab")
    assert page.evaluate("window.editor.getValue()") == "function add(a, b) {\n  return a + b;\n}\n"
    assert page.evaluate("window.failed") is None
