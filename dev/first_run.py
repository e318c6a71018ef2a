"""`make run`: serve the starter model, show three completions through the language server, then keep serving.

The server is `python -m server`: ACEPILOT_PORT and acepilot.toml change it as usual.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient
from rich.text import Text

from acepilot.cli import program, text_console
from acepilot.errors import CannotListen, ServerNotReady
from acepilot.languages import language_for
from server.settings import ServerSettings

SAMPLES = Path(__file__).parent / "samples"
CURSOR = "‸"
LANGUAGE_SERVER = Path(sys.executable).with_name("acepilot-lsp")
DEFAULT_URL = "http://127.0.0.1:8010"
READY_TIMEOUT_S = 180  # the first start converts the model, which takes about 15 s on two cores
console = text_console()


@dataclass(frozen=True)
class Sample:
    """A file to complete, cut in two at its cursor mark."""

    path: Path
    before: str
    after: str

    @classmethod
    def read(cls, path: Path) -> "Sample":
        before, after = path.read_text(encoding="utf-8").split(CURSOR)
        return cls(path, before, after)

    @property
    def position(self) -> lsp.Position:
        """The cursor. LSP counts characters in UTF-16 units."""
        last_line = self.before.rpartition("\n")[2]
        return lsp.Position(self.before.count("\n"), len(last_line.encode("utf-16-le")) // 2)


def port_is_taken(settings: ServerSettings) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((settings.host, settings.port)) == 0


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait for the model. Exit if the server ends or cannot load it: it has then printed the reason."""
    with console.status("loading the model (about 15 s the first time, a few seconds later)"):
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if server.poll() is not None:
                sys.exit(server.returncode or 1)
            try:
                with urllib.request.urlopen(f"{url}/ready", timeout=2):
                    return
            except urllib.error.HTTPError as error:
                if json.load(error)["status"] == "failed":
                    sys.exit(1)
            except OSError:
                pass
            time.sleep(0.2)
    raise ServerNotReady(f"The model was not ready within {READY_TIMEOUT_S} s.")


async def show_completions(url: str, token: str | None) -> None:
    """Complete each sample in one session with the real language server, as an editor does."""
    client = LanguageClient("acepilot-demo", "1")
    environment = {**os.environ, **({"ACEPILOT_TOKEN": token} if token else {})}
    await client.start_io(str(LANGUAGE_SERVER), "--server-url", url, env=environment)
    status: dict[str, str] = {}

    @client.feature("acepilot/status")  # pyright: ignore[reportUntypedFunctionDecorator]
    def _(params: Any) -> None:
        status["reason"] = f"{params.message} {params.reason}".strip()

    await client.initialize_async(lsp.InitializeParams(capabilities=lsp.ClientCapabilities()))
    client.initialized(lsp.InitializedParams())
    for path in sorted(SAMPLES.iterdir(), key=lambda path: path.suffix, reverse=True):
        sample = Sample.read(path)
        language = language_for(path=path.name)
        uri = path.resolve().as_uri()
        client.text_document_did_open(
            lsp.DidOpenTextDocumentParams(
                lsp.TextDocumentItem(uri, language.lsp_ids[0], 1, sample.before + sample.after)
            )
        )
        began = time.perf_counter()
        answer = await client.text_document_inline_completion_async(
            lsp.InlineCompletionParams(
                context=lsp.InlineCompletionContext(lsp.InlineCompletionTriggerKind.Invoked),
                text_document=lsp.TextDocumentIdentifier(uri),
                position=sample.position,
            )
        )
        took_ms = (time.perf_counter() - began) * 1000
        items = answer.items if isinstance(answer, lsp.InlineCompletionList) else answer or []
        show(sample, str(items[0].insert_text) if items else "", took_ms, status.get("reason", ""))
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()


def show(sample: Sample, offered: str, took_ms: float, reason: str) -> None:
    """Print the lines around the cursor, with the suggestion in its place as ghost text."""
    lines_before = sample.before.splitlines(keepends=True)[-5:]
    lines_after = sample.after.splitlines(keepends=True)[:4]
    text = Text("".join(lines_before))
    if offered:
        # Without colours, marks show where the suggestion begins and ends.
        text.append(offered if console.is_terminal else f"«{offered}»", style="italic black on bright_green")
    else:
        text.append(f" nothing was offered: {reason} ", style="white on red")
    text.append("".join(lines_after).rstrip("\n"))
    title = Text.assemble((sample.path.name, "bold"), "  ", (f"{took_ms:.0f} ms", "dim"))
    console.rule(title, align="left")
    console.print(text)


def print_how_to_connect(url: str) -> None:
    flags = [] if url == DEFAULT_URL else ["--server-url", url]
    command = " ".join([str(LANGUAGE_SERVER), *flags])
    console.rule("connect an editor", align="left")
    for line in (
        "VS Code, Neovim   plugins in editors/; the other editors: a page each in docs/editors/",
        f"Every editor runs {command}",
        f"\nPlayground: {url}/   Stop with Ctrl-C.",
    ):
        console.print(line)


@program()
def main() -> int:
    """Exit code 2 when settings are wrong, 3 when the port is taken, 0 after Ctrl-C, or the server's."""
    settings = ServerSettings.load()
    url = f"http://{settings.host}:{settings.port}"
    if port_is_taken(settings):
        raise CannotListen(
            f"Another program listens on {url}, perhaps another `make run`: stop it, or choose another "
            "port: ACEPILOT_PORT=8011 make run"
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, and ends the server too
    server = subprocess.Popen(
        [sys.executable, "-m", "server"], env={"ACEPILOT_LOG_LEVEL": "warning", **os.environ}
    )
    try:
        wait_until_ready(url, server)
        token = settings.token.get_secret_value() if settings.token else None
        asyncio.run(show_completions(url, token))
        print_how_to_connect(url)
        return server.wait()
    except KeyboardInterrupt:
        console.print("\nstopping")
        return 0
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
