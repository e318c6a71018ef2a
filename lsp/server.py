"""The language server, put together. Each connection has its own, since each editor has its own documents."""

import asyncio
import logging
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from acepilot.logs import describe
from lsp.client import CompletionClient
from lsp.features import completion, explain, feedback, inline_completion, status
from lsp.feedback.outbox import Outbox
from lsp.feedback.outcomes import Outcomes
from lsp.keystroke.snippets import OpenFileSnippets
from lsp.keystroke.suggest import Suggester
from lsp.protocol import Protocol
from lsp.settings import LspSettings
from lsp.text.documents import Documents

if TYPE_CHECKING:
    from pygls.server import ServerErrors  # which exists for type checkers only

logger = logging.getLogger("acepilot.lsp")

FLUSH_S = 1.0  # for sending the last events: the editor waits for the program to end


class AcepilotLanguageServer(LanguageServer):
    """pygls' server, with our document store in place of pygls' own."""

    def __init__(self, settings: LspSettings, new_suggester: Callable[..., Suggester] = Suggester) -> None:
        """`new_suggester` takes the arguments of `Suggester` that have no default."""
        super().__init__("acepilot", version("acepilot"), protocol_cls=Protocol)
        self.on_initialize: Callable[[], None] = lambda: None
        self.documents = Documents()
        self._client = CompletionClient(settings)
        notify = partial(self.protocol.notify, status.METHOD)
        self._status = status.Status(self._client, notify, self._log_to_editor)
        self._outbox = Outbox(self._client.send_events, lambda message: self._log_to_editor(message, True))
        self._outcomes = Outcomes(self.documents, self._outbox.put)
        self._tasks: list[asyncio.Task[None]] = []
        self.suggester = new_suggester(
            self._client,
            self.documents,
            OpenFileSnippets(self.documents, self._roots),
            time_budget_ms=settings.time_budget_ms,
            report=self._status.report,
            explain=self._status.explain,
        )
        explain.register(self, self.suggester)
        feedback.register(self, self._outcomes)
        inline_completion.register(self, self.documents, self.suggester, self._outcomes)
        self._register_lifecycle()
        self._register_documents()

    async def aclose(self) -> None:
        """Cancel everything in flight, and send the last events about what was offered."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._outcomes.finish()
        await self._outbox.flush(FLUSH_S)
        await self.suggester.aclose()
        await self._client.aclose()
        self.documents.clear()  # pygls' objects refer to each other, and may be freed much later

    def report_server_error(self, error: Exception, source: "ServerErrors") -> None:
        """Log the error on stderr: no pop-up in the editor, and no error message, which may quote code."""
        logger.error("%s", describe(type(error), error.__traceback__ or sys.exc_info()[2]))

    def _register_lifecycle(self) -> None:
        @self.feature(types.INITIALIZE)
        def initialize(params: types.InitializeParams) -> None:  # pyright: ignore[reportUnusedFunction]
            encoding = self.workspace.position_encoding or types.PositionEncodingKind.Utf16
            self.documents.encoding = types.PositionEncodingKind(encoding).value
            if (client := params.client_info) is not None:
                self._outcomes.client = f"{client.name} {client.version or ''}".strip()
            text_document = params.capabilities.text_document
            if text_document is None or text_document.inline_completion is None:
                menu = text_document and text_document.completion
                completion.register(self, self.documents, self.suggester, self._outcomes, menu)
            self.on_initialize()

        @self.feature(types.INITIALIZED)
        async def initialized(_: types.InitializedParams) -> None:  # pyright: ignore[reportUnusedFunction]
            if not self._tasks:
                loops = (self._status.watch(), self._outbox.run())
                self._tasks = [asyncio.create_task(loop) for loop in loops]

        @self.feature(types.SHUTDOWN)
        async def shutdown(_: None) -> None:  # pyright: ignore[reportUnusedFunction]
            await self.aclose()

    def _register_documents(self) -> None:
        """Replace pygls' own handlers, which copy and split the whole text at every keystroke."""

        def opened(params: types.DidOpenTextDocumentParams) -> None:
            self.documents.open(params.text_document)

        def changed(params: types.DidChangeTextDocumentParams) -> None:
            uri = params.text_document.uri
            edits = self.documents.change(uri, params.text_document.version, params.content_changes)
            if (document := self.documents.get(uri)) is not None:
                self._outcomes.changed(document, edits)
            self.suggester.key_pressed()

        def closed(params: types.DidCloseTextDocumentParams) -> None:
            if (document := self.documents.get(params.text_document.uri)) is not None:
                self._outcomes.closed(document)
            self.documents.pop(params.text_document.uri, None)
            self.suggester.forget(params.text_document.uri)

        self.protocol.fm.add_builtin_feature(types.TEXT_DOCUMENT_DID_OPEN, opened)
        self.protocol.fm.add_builtin_feature(types.TEXT_DOCUMENT_DID_CHANGE, changed)
        self.protocol.fm.add_builtin_feature(types.TEXT_DOCUMENT_DID_CLOSE, closed)

    def _roots(self) -> list[str]:
        folders = list(self.workspace.folders)
        root = self.workspace.root_uri
        return folders or ([root] if root else [])

    def _log_to_editor(self, message: str, is_problem: bool) -> None:
        kind = types.MessageType.Warning if is_problem else types.MessageType.Info
        self.window_log_message(types.LogMessageParams(kind, message))
