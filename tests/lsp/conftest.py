"""Fixtures: an editor that talks to a real `python -m lsp` over stdio."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest_asyncio
from lsprotocol import types
from pytest_lsp import client_capabilities, make_test_lsp_client

from tests.lsp.editor import Editor
from tests.lsp.fake_server import FakeServer

Connect = Callable[..., Awaitable[Editor]]


@pytest_asyncio.fixture
async def connect(fake: FakeServer, tmp_path: Path) -> AsyncIterator[Connect]:
    """Start `python -m lsp` and initialise it: `await connect(encodings=..., inline=...)`."""
    editors: list[Editor] = []

    async def start(
        *flags: str,
        encodings: list[types.PositionEncodingKind | str] | None = None,
        inline: bool = True,
        env: dict[str, str] | None = None,
    ) -> Editor:
        stderr = tmp_path / f"stderr-{len(editors)}"
        client = make_test_lsp_client()
        editor = Editor(client, stderr, tmp_path)
        editors.append(editor)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ACEPILOT_")}
        await client.start_io(
            "/bin/sh",
            "-c",
            'echo $$ >"$STDERR.pid"; exec "$0" -m lsp "$@" 2>"$STDERR"',
            sys.executable,
            "--server-url",
            fake.url,
            *flags,
            env={**clean, "STDERR": str(stderr), **(env or {})},
        )
        capabilities = client_capabilities("visual-studio-code")
        assert capabilities.text_document is not None
        capabilities.text_document.inline_completion = (
            types.InlineCompletionClientCapabilities() if inline else None
        )
        capabilities.general = types.GeneralClientCapabilities(position_encodings=encodings)
        folder = types.WorkspaceFolder(uri=tmp_path.as_uri(), name="work")
        params = types.InitializeParams(
            capabilities=capabilities,
            workspace_folders=[folder],
            client_info=types.ClientInfo("test editor", "1.2"),
        )
        editor.initialized = await client.initialize_session(params)
        return editor

    yield start
    for editor in editors:
        async with asyncio.timeout(5):
            await editor.client.shutdown_session()
        await editor.client.stop()
        # Every document and every answer in these tests holds one of these words; no log may hold code.
        logs = editor.stderr + "".join(message.message for message in editor.client.log_messages)
        assert not [code for code in ("os.stat", "secret", "return", "import ") if code in logs], logs
