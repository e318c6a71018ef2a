"""An editor's session with a real `python -m lsp` over stdio and the scripted server."""

import asyncio

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from acepilot.trail import Trail
from tests.lsp.conftest import Connect
from tests.lsp.editor import AUTOMATIC, INVOKED
from tests.lsp.fake_server import FakeServer

TEXT = "import os\n\n\ndef size(path):\n    return \n\n\nprint(size('.'))\n"
CURSOR = (4, 11)


@pytest.mark.asyncio
async def test_inline_completion(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    assert editor.initialized is not None
    assert editor.initialized.capabilities.inline_completion_provider is not None
    assert editor.initialized.capabilities.completion_provider is None
    editor.open(TEXT, CURSOR)
    item = await editor.item()
    assert item is not None
    assert item.insert_text == fake.text
    here = types.Position(*CURSOR)
    assert item.range == types.Range(here, here)
    body = fake.seen[0].body
    assert body.prompt == "import os\n\n\ndef size(path):\n    return "
    assert body.suffix == "\n\n\nprint(size('.'))\n"
    assert (body.language, body.path, body.mode, body.stream) == ("python", "a.py", "auto", True)


@pytest.mark.asyncio
async def test_the_final_text_replaces_the_chunks(fake: FakeServer, connect: Connect) -> None:
    fake.final = "os.stat(path)"
    editor = await connect()
    editor.open(TEXT, CURSOR)
    assert await editor.text() == "os.stat(path)"


@pytest.mark.asyncio
@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
async def test_only_lf_and_cr_end_a_line_of_the_event_stream(
    fake: FakeServer, connect: Connect, separator: str
) -> None:
    fake.text = f"os{separator}x = '{separator * 3}'"
    editor = await connect()
    editor.open(f"{TEXT}# {separator}\n", CURSOR)  # else it would be left out
    assert await editor.text() == fake.text


@pytest.mark.asyncio
async def test_a_cached_suggestion_keeps_its_own_completions_id(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    ids: list[object] = []
    for name in ("a.py", "b.py", "a.py"):
        editor.open(TEXT, CURSOR, name=name)
        item = await editor.item()
        assert item is not None
        assert item.command is not None
        ids += item.command.arguments or []
    assert ids == ["cmpl-1", "cmpl-2", "cmpl-1"], "both have the same text"
    assert len(fake.seen) == 2


@pytest.mark.asyncio
async def test_an_empty_answer_has_a_reason(fake: FakeServer, connect: Connect) -> None:
    fake.final, fake.reason = "", "Every line repeats the suffix."
    editor = await connect()
    editor.open(TEXT, CURSOR)
    assert await editor.text() is None
    await editor.until(lambda: editor.reason == "Every line repeats the suffix.")


@pytest.mark.asyncio
async def test_the_last_request_is_explained_by_the_servers_record(
    fake: FakeServer, connect: Connect
) -> None:
    editor = await connect()
    ask = types.ExecuteCommandParams("acepilot.explain")
    assert await editor.client.workspace_execute_command_async(ask) is None
    editor.open(TEXT, CURSOR)
    await editor.text()
    assert await editor.client.workspace_execute_command_async(ask) is None, "the server has forgotten it"
    fake.trails = [
        Trail(id=f"cmpl-{number}", model="fake", engine="fake", language=None, mode="line", reason=reason)
        for number, reason in ((1, "Shown."), (2, "It repeats the line below."))
    ]
    trail = await editor.client.workspace_execute_command_async(ask)
    assert isinstance(trail, dict)
    assert trail["reason"] == "Shown."
    fake.text = ""
    editor.type("z")
    await editor.text()
    for _ in range(2):
        trail = await editor.client.workspace_execute_command_async(ask)
        assert isinstance(trail, dict)
        assert trail["reason"] == "It repeats the line below."
        await editor.text(AUTOMATIC)  # answered from the cache
    assert len(fake.seen) == 2


@pytest.mark.asyncio
async def test_typing_a_suggestion_is_answered_from_the_cache(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    editor.open(TEXT, CURSOR)
    await editor.text()
    editor.type("os.st")
    assert await editor.text(AUTOMATIC) == "at(path).st_size"
    assert len(fake.seen) == 1


@pytest.mark.asyncio
async def test_typing_a_suggestion_shares_its_stream(fake: FakeServer, connect: Connect) -> None:
    fake.delay_s = 0.3  # six chunks: even on a busy machine, the keys come before the last chunk
    editor = await connect()
    editor.open(TEXT, CURSOR)
    answers = [editor.ask()]
    for char in "os.st":
        await asyncio.sleep(0.02)
        editor.type(char)
        answers.append(editor.ask(AUTOMATIC))
    *superseded, last = await asyncio.gather(*answers)
    assert superseded == [None] * 5
    assert last is not None
    assert last.items[0].insert_text == "at(path).st_size"
    assert [one.ended for one in fake.seen] == ["whole"]


@pytest.mark.asyncio
async def test_typing_other_text_cancels_the_stream(fake: FakeServer, connect: Connect) -> None:
    fake.delay_s = 1.0  # six chunks: even on a busy machine, the key comes before the end
    editor = await connect()
    editor.open(TEXT, CURSOR)
    first = editor.ask()
    await editor.until(lambda: fake.seen and fake.seen[0].chunks)
    editor.type("x")
    fake.text, fake.delay_s = "yz", 0
    assert await editor.text() == "yz"
    assert await first is None
    await editor.until(lambda: [one.ended for one in fake.seen] == ["cancelled", "whole"])


@pytest.mark.asyncio
async def test_cancel_request_frees_the_slot(fake: FakeServer, connect: Connect) -> None:
    fake.delay_s = 1.0
    editor = await connect()
    editor.open(TEXT, CURSOR)
    asked = editor.ask(request_id="mine")
    await editor.until(lambda: fake.seen)
    editor.client.cancel_request(types.CancelParams(id="mine"))
    with pytest.raises(JsonRpcException) as cancelled:
        await asked
    assert cancelled.value.code == -32800
    await editor.until(lambda: fake.seen[0].ended == "cancelled")


@pytest.mark.asyncio
async def test_a_change_while_waiting_drops_the_answer(fake: FakeServer, connect: Connect) -> None:
    fake.delay_s = 1.0
    editor = await connect()
    editor.open(TEXT, CURSOR)
    asked = editor.ask()
    await editor.until(lambda: fake.seen)
    editor.type("none of it")
    assert await asked is None


@pytest.mark.asyncio
async def test_typing_the_beginning_while_waiting_gets_the_rest(fake: FakeServer, connect: Connect) -> None:
    fake.delay_s = 0.3
    editor = await connect()
    editor.open(TEXT, CURSOR)
    asked = editor.ask()
    await editor.until(lambda: fake.seen)
    editor.type("os.")
    answer = await asked
    assert answer is not None
    here = types.Position(4, 14)
    assert (answer.items[0].insert_text, answer.items[0].range) == (
        "stat(path).st_size",
        types.Range(here, here),
    )


@pytest.mark.asyncio
async def test_an_auto_closed_bracket_is_replaced(fake: FakeServer, connect: Connect) -> None:
    fake.text = "path)"
    editor = await connect()
    editor.open("os.stat()\n", (0, 8))
    item = await editor.item()
    assert item is not None
    assert item.range == types.Range(types.Position(0, 8), types.Position(0, 9))


@pytest.mark.asyncio
async def test_long_text_right_of_the_cursor_needs_a_request_by_hand(
    fake: FakeServer, connect: Connect
) -> None:
    editor = await connect()
    editor.open("x =  # a comment\n", (0, 4))
    assert await editor.text(AUTOMATIC) is None
    assert fake.seen == []
    await editor.until(lambda: "by hand" in editor.reason)
    assert await editor.text(INVOKED) == fake.text


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("encoding", "column"),
    [
        (types.PositionEncodingKind.Utf8, 15),
        (types.PositionEncodingKind.Utf16, 9),
        (types.PositionEncodingKind.Utf32, 8),
    ],
)
async def test_position_encodings(
    fake: FakeServer, connect: Connect, encoding: types.PositionEncodingKind, column: int
) -> None:
    editor = await connect(encodings=[encoding])
    assert editor.initialized is not None
    assert editor.initialized.capabilities.position_encoding == encoding
    editor.open('s = "漢字😀")  # 漢\r\n', (0, column))
    fake.text = 'é")'
    editor.type("→", {"utf-8": 3}.get(encoding.value, 1))
    assert await editor.text() == 'é")'
    assert fake.seen[0].body.prompt == 's = "漢字😀→'
    item = await editor.item()
    assert item is not None
    assert item.range == types.Range(
        types.Position(0, editor.character), types.Position(0, editor.character + 2)
    )


@pytest.mark.asyncio
async def test_crlf_documents_get_crlf_text(fake: FakeServer, connect: Connect) -> None:
    fake.text = "(\n    1,\n)"
    editor = await connect()
    editor.open("a = 1\r\nb = \r\n", (1, 4))
    assert await editor.text() == "(\r\n    1,\r\n)"
    assert fake.seen[0].body.prompt == "a = 1\nb = "


@pytest.mark.asyncio
async def test_acceptance_is_counted_once(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    editor.open(TEXT, CURSOR)
    item = await editor.item()
    assert item is not None
    assert item.command is not None
    assert item.command.command == "acepilot.accepted"
    assert list(item.command.arguments or []) == ["cmpl-1"]
    for _ in range(2):
        counts = await editor.client.workspace_execute_command_async(
            types.ExecuteCommandParams(item.command.command, item.command.arguments)
        )
        assert counts == {"shown": 1, "accepted": 1}


@pytest.mark.asyncio
async def test_the_completion_menu_for_editors_without_ghost_text(fake: FakeServer, connect: Connect) -> None:
    editor = await connect(inline=False)
    assert editor.initialized is not None
    assert editor.initialized.capabilities.completion_provider is not None
    editor.open(TEXT.replace("return ", "return os"), (4, 13))
    fake.text = ".stat(\n        path\n    ).st_size"
    answer = await editor.client.text_document_completion_async(
        types.CompletionParams(types.TextDocumentIdentifier(editor.uri), types.Position(4, 13))
    )
    assert isinstance(answer, types.CompletionList)
    assert answer.is_incomplete
    (item,) = answer.items
    assert (item.label, item.detail, item.preselect) == ("os.stat(", "Acepilot", False)
    assert isinstance(item.text_edit, types.TextEdit)
    assert item.text_edit.new_text == "os" + fake.text
    assert item.text_edit.range == types.Range(types.Position(4, 11), types.Position(4, 13))


@pytest.mark.asyncio
async def test_other_open_files_give_snippets(fake: FakeServer, connect: Connect) -> None:
    editor = await connect()
    helper = "def size_of_path(path, follow):\n    return os.stat(path, follow)\n"
    editor.open(helper, (0, 0), name="sub/helper.py")
    editor.open("x\n" * 50, (0, 0), name="unlike.py")
    editor.open(TEXT.replace("size", "size_of_path"), CURSOR)
    await editor.text()
    (snippet,) = fake.seen[0].body.snippets
    assert (snippet.path, snippet.text) == ("sub/helper.py", helper.strip("\n"))
