"""An editor over a pytest-lsp client: it opens documents, types, asks, and records the statuses."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsprotocol import types
from pytest_lsp import LanguageClient

INVOKED = types.InlineCompletionTriggerKind.Invoked
AUTOMATIC = types.InlineCompletionTriggerKind.Automatic


@dataclass
class Editor:
    """Edits one document at a time; the cursor is at (`line`, `character`) in the client's units."""

    client: LanguageClient
    stderr_file: Path
    folder: Path
    initialized: types.InitializeResult | None = None
    statuses: list[Any] = field(default_factory=list[Any])
    uri: str = ""
    version: int = 0
    line: int = 0
    character: int = 0

    def __post_init__(self) -> None:
        @self.client.feature("acepilot/status")
        def status(params: Any) -> None:
            self.statuses.append(params)

    def open(self, text: str, at: tuple[int, int], name: str = "a.py", language: str = "python") -> None:
        self.uri, self.version = (self.folder / name).as_uri(), 1
        self.line, self.character = at
        self.client.text_document_did_open(
            types.DidOpenTextDocumentParams(types.TextDocumentItem(self.uri, language, 1, text))
        )

    def type(self, text: str, units: int | None = None) -> None:
        """Insert one-line `text` (`units` wide) at the cursor, as one change."""
        self.replace(text, over=0)
        self.character += len(text) if units is None else units

    def replace(self, text: str, over: int) -> None:
        """Replace `over` units right of the cursor by `text`. The cursor does not move."""
        self.version += 1
        here, end = (types.Position(self.line, self.character + units) for units in (0, over))
        change = types.TextDocumentContentChangePartial(range=types.Range(here, end), text=text)
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(self.version, self.uri), [change]
            )
        )

    def ask(
        self,
        trigger: types.InlineCompletionTriggerKind = INVOKED,
        request_id: str | None = None,
        selected: types.SelectedCompletionInfo | None = None,
    ) -> asyncio.Future[types.InlineCompletionList | None]:
        params = types.InlineCompletionParams(
            types.InlineCompletionContext(trigger, selected),
            types.TextDocumentIdentifier(self.uri),
            types.Position(self.line, self.character),
        )
        # Sent at once: pytest-lsp's send_request_async sends only when it is awaited.
        sent = self.client.protocol.send_request("textDocument/inlineCompletion", params, msg_id=request_id)
        return asyncio.wrap_future(sent)

    async def item(
        self, trigger: types.InlineCompletionTriggerKind = INVOKED
    ) -> types.InlineCompletionItem | None:
        answer = await asyncio.wait_for(self.ask(trigger), 10)
        return answer.items[0] if answer else None

    async def text(self, trigger: types.InlineCompletionTriggerKind = INVOKED) -> str | None:
        item = await self.item(trigger)
        return str(item.insert_text) if item else None

    async def until(self, condition: Callable[[], object], timeout_s: float = 5.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - the condition changes in other processes
                await asyncio.sleep(0.01)

    async def until_state(self, state: str, timeout_s: float = 5.0) -> None:
        await self.until(lambda: self.statuses and self.statuses[-1].state == state, timeout_s)

    @property
    def reason(self) -> str:
        return self.statuses[-1].reason if self.statuses else ""

    @property
    def server_pid(self) -> int:
        return int(self.stderr_file.with_name(f"{self.stderr_file.name}.pid").read_text())

    @property
    def stderr(self) -> str:
        return self.stderr_file.read_text()
