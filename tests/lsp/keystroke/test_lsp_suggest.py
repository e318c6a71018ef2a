"""The keystroke flow with replaced parts, without an editor."""

import pytest
from lsprotocol import types

from acepilot.completion_cache import CompletionCache
from lsp.client import CompletionClient
from lsp.keystroke.debounce import Debounce
from lsp.keystroke.snippets import OpenFileSnippets
from lsp.keystroke.suggest import Step, Suggester
from lsp.settings import LspSettings
from lsp.text.documents import Documents
from tests.lsp.fake_server import FakeServer

URI = "file:///a.py"


class NoWait(Debounce):
    def wait_ms(self, line_before: str, line_after: str, *, invoked: bool) -> float:
        return 0.0


@pytest.mark.asyncio
@pytest.mark.parametrize("cached", [True, False])
async def test_a_listener_gets_every_request_and_the_source_of_every_answer(
    fake: FakeServer, cached: bool
) -> None:
    steps: list[Step] = []
    client, documents = CompletionClient(LspSettings.load({"server_url": fake.url})), Documents()
    suggester = Suggester(
        client,
        documents,
        OpenFileSnippets(documents, list),
        time_budget_ms=5000,
        report=lambda _: None,
        explain=lambda _: None,
        cache=CompletionCache(9 if cached else 0),
        debounce=NoWait(),
        on_step=steps.append,
    )
    documents.open(types.TextDocumentItem(URI, "python", 1, "x = "))
    for _ in range(2):
        (suggestion,) = await suggester.suggest(URI, types.Position(0, 4), invoked=False)
        assert suggestion.text == fake.text
    asked: list[Step] = ["request_sent", "own_stream"]
    assert steps == [*asked, *(["cache_hit"] if cached else asked)]
    assert len(fake.seen) == (1 if cached else 2)
    await suggester.aclose()
    await client.aclose()
