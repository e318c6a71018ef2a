"""Other candidates for a request by hand, and the selected item of the editor's menu."""

import asyncio

import pytest
from lsprotocol import types

from tests.lsp.conftest import Connect
from tests.lsp.editor import AUTOMATIC
from tests.lsp.fake_server import FakeServer

TEXT = "import os\n\n\ndef size(path):\n    return \n\n\nprint(size('.'))\n"
CURSOR = (4, 11)


@pytest.mark.asyncio
async def test_other_candidates_only_when_asked_by_hand(fake: FakeServer, connect: Connect) -> None:
    fake.others = ["other(1)", fake.text, ""]
    editor = await connect()
    editor.open(TEXT, CURSOR)
    assert await editor.text(AUTOMATIC) == fake.text
    assert fake.asked_for_others == []
    for _ in range(2):
        answer = await editor.ask()
        assert answer is not None
        assert [item.insert_text for item in answer.items] == [fake.text, "other(1)"]
    (asked,) = fake.asked_for_others
    assert (asked.n, asked.prompt) == (2, fake.seen[0].body.prompt)
    assert asked.temperature > 0
    assert len(fake.seen) == 1
    await editor.until(lambda: editor.reason == "2 candidates were offered.")


@pytest.mark.asyncio
async def test_a_change_ends_the_wait_for_others(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    editor.open(TEXT, CURSOR)
    assert await editor.text(AUTOMATIC) == fake.text
    fake.delay_s = 30
    asked = editor.ask()
    await editor.until(lambda: fake.asked_for_others)
    editor.type("o")
    fake.delay_s = 0
    newer = editor.ask(AUTOMATIC)
    await asyncio.wait_for(asked, 5)  # with the rest, or with nothing if the newer request came at once
    answer = await newer
    assert answer is not None
    assert [item.insert_text for item in answer.items] == [fake.text[1:]]


@pytest.mark.asyncio
async def test_the_completion_continues_the_menus_selected_item(fake: FakeServer, connect: Connect) -> None:
    fake.text = "(path).st_size"
    editor = await connect()
    editor.open(TEXT.replace("return ", "return o.s"), (4, 14))
    selected = types.SelectedCompletionInfo(
        types.Range(types.Position(4, 11), types.Position(4, 14)), "os.stat"
    )
    answer = await editor.ask(AUTOMATIC, selected=selected)
    assert answer is not None
    (item,) = answer.items
    assert (item.insert_text, item.range) == ("os.stat(path).st_size", selected.range)
    assert fake.seen[0].body.prompt.endswith("    return os.stat")
    assert fake.seen[0].body.suffix == "\n\n\nprint(size('.'))\n"
