"""From the keystroke to the model and back: the real server, the real language server, a real model.

The tests use the starter if it is fetched, else starter-tiny, and check only what holds for any model. The
tests marked e2e check the meaning of completions; they need the starter.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from acepilot.models.registry import is_whole
from tests.lsp.editor import Editor
from tests.lsp.test_lsp_neovim import CURSOR, TYPESCRIPT, menu_text, run_neovim
from tests.needs import need_model

Connect = Callable[..., Awaitable[Editor]]

SAMPLES = Path(__file__).parents[2] / "dev" / "samples"

VUE_LIST = """\
<script setup lang="ts">
import { ref } from 'vue'

interface Item { id: number; name: string }

const items = ref<Item[]>([])
</script>

<template>
  <ul>
    <li v-for="item in items" :key="‸%s
      {{ item.name }}
    </li>
  </ul>
</template>
"""


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def serving(model: str) -> Iterator[str]:
    need_model(model)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "--model", model, "--port", str(port), "--log-level", "error"],
        env={name: value for name, value in os.environ.items() if not name.startswith("ACEPILOT_")}
        | {"ACEPILOT_HOME": os.environ.get("ACEPILOT_HOME", "")},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{url}/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def any_model_url() -> Iterator[str]:
    yield from serving("starter" if is_whole("starter") else "starter-tiny")


@pytest.fixture(scope="module")
def starter_url() -> Iterator[str]:
    yield from serving("starter")


async def offered(connect: Connect, url: str, marked: str, name: str, language: str) -> tuple[str, str]:
    """Return the text offered at ‸, and the document after the user accepted it."""
    before, after = marked.split("‸")
    editor = await connect("--server-url", url, "--time-budget-ms", "20000")
    last_line = before.rpartition("\n")[2]
    editor.open(before + after, at=(before.count("\n"), len(last_line)), name=name, language=language)
    item = await editor.item()
    text = ""
    while (
        item is not None and item.insert_text != text
    ):  # on a slow machine, the first lines are offered before the rest
        text = str(item.insert_text)
        await asyncio.sleep(1.5)
        item = await editor.item()
    assert item is not None, editor.statuses[-1]
    replaced = 0 if item.range is None else item.range.end.character - len(last_line)
    return text, before + text + after[replaced:]


@pytest.mark.asyncio
async def test_a_real_model_answers_the_language_server(connect: Connect, any_model_url: str) -> None:
    text, _ = await offered(connect, any_model_url, "def add(a, b):\n    return ‸\n", "add.py", "python")
    assert "\n" not in text
    assert text.strip()


def test_neovim_is_answered_by_a_real_model(any_model_url: str, tmp_path: Path) -> None:
    path = tmp_path / "double.ts"
    path.write_text(TYPESCRIPT, encoding="utf-8")
    answers = run_neovim(any_model_url, path)
    inline, *_ = answers["inline"]["items"]
    (menu,) = answers["menu"]["items"]
    assert inline["insertText"].strip()
    assert menu_text(menu) == inline["insertText"]
    text = "\n".join(answers["applied"]) + "\n"
    assert text.startswith("\n".join(TYPESCRIPT.split("\n")[: CURSOR[0]]))
    assert text.count("(") == text.count(")"), text


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_vue_is_offered_one_line_that_ends_where_it_should(connect: Connect, starter_url: str) -> None:
    text, _ = await offered(connect, starter_url, sample("Counter.vue"), "Counter.vue", "vue")
    assert text == "computed(() => count.value * 2)"


@pytest.mark.e2e
@pytest.mark.asyncio
@pytest.mark.parametrize("right_of_cursor", ['">', ">", '"', ""])
async def test_a_vue_attribute_closes_correctly(
    connect: Connect, starter_url: str, right_of_cursor: str
) -> None:
    _, accepted = await offered(connect, starter_url, VUE_LIST % right_of_cursor, "List.vue", "vue")
    line = next(line for line in accepted.splitlines() if ":key" in line)
    assert line.startswith('    <li v-for="item in items" :key="item.id"'), line
    assert line.count('"') == 4, line
    assert line.count(">") <= 1, line


@pytest.mark.e2e
@pytest.mark.asyncio
async def test_a_body_stops_before_the_braces_that_stand_there(connect: Connect, starter_url: str) -> None:
    text, accepted = await offered(connect, starter_url, sample("debounce.ts"), "debounce.ts", "typescript")
    assert "clearTimeout(timer)" in text
    assert "setTimeout(" in text
    assert accepted.count("{") == accepted.count("}")
    assert accepted.endswith("\n  }\n}\n")
