"""`make run`: serves the starter model, shows three real completions through the language server, and stays.

The server is the same as `python -m server`; ACEPILOT_PORT and acepilot.toml change it as usual.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient
from rich.console import Console
from rich.text import Text

from acepilot.errors import AcepilotError
from acepilot.languages import language_for
from server.settings import ServerSettings

SAMPLES = Path(__file__).parent / "samples"
CURSOR = "‸"
READY_TIMEOUT_S = 180
console = Console(highlight=False)


@dataclass(frozen=True)
class Sample:
    """A file with its cursor mark taken out. `character` is in UTF-16 units, as LSP counts."""

    path: Path
    before: str
    after: str

    @classmethod
    def read(cls, path: Path) -> "Sample":
        before, after = path.read_text(encoding="utf-8").split(CURSOR)
        return cls(path, before, after)

    @property
    def position(self) -> lsp.Position:
        last_line = self.before.rpartition("\n")[2]
        return lsp.Position(self.before.count("\n"), len(last_line.encode("utf-16-le")) // 2)


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    """Returns when the model can serve; exits with the server's own code when it has ended."""
    with console.status("loading the model (about 15 s the first time, 3 s later)"):
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if server.poll() is not None:
                console.print(
                    "[red]The server has ended.[/red] If another program holds the port, "
                    "choose one: ACEPILOT_PORT=8011 make run"
                )
                sys.exit(server.returncode or 1)
            try:
                with urllib.request.urlopen(f"{url}/ready", timeout=2):
                    return
            except urllib.error.HTTPError as error:
                if b'"failed"' in error.read():
                    server.terminate()
                    sys.exit(1)
            except OSError:
                pass
            time.sleep(0.2)
    server.terminate()
    sys.exit(f"The model was not ready within {READY_TIMEOUT_S} s.")


async def show_completions(url: str) -> None:
    """One LSP session with the real language server, as an editor holds it."""
    client = LanguageClient("acepilot-demo", "1")
    await client.start_io(sys.executable, "-m", "lsp", "--server-url", url)

    @client.feature("acepilot/status")  # pyright: ignore[reportUntypedFunctionDecorator]
    def _(status: object) -> None:
        """An editor shows it in its status bar; here the completions tell enough."""

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
        show(sample, str(items[0].insert_text) if items else "", took_ms)
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()


def show(sample: Sample, offered: str, took_ms: float) -> None:
    """What was typed plain, what is offered as ghost text, in place."""
    lines_before = sample.before.splitlines(keepends=True)[-5:]
    lines_after = sample.after.splitlines(keepends=True)[:4]
    text = Text("".join(lines_before))
    if offered:
        text.append(offered, style="italic black on bright_green")
    else:
        text.append(" nothing was offered ", style="white on red")
    text.append("".join(lines_after).rstrip("\n"))
    console.rule(f"[bold]{sample.path.name}[/bold]  [dim]{took_ms:.0f} ms[/dim]", align="left")
    console.print(text)


def tell_how_to_connect(url: str) -> None:
    here = f"{sys.executable} -m lsp"
    console.rule("connect an editor", align="left")
    console.print(f"VS Code   any generic LSP client extension, command: {here}", soft_wrap=True)
    console.print(
        f"Neovim    vim.lsp.start({{ name = 'acepilot', cmd = {{ '{sys.executable}', '-m', 'lsp' }} }})",
        soft_wrap=True,
    )
    console.print(f"LSP 3.18  run `{here}` on stdio; it asks {url}", soft_wrap=True)
    console.print(f"\nPlayground: [bold]{url}/[/bold]   Stop with Ctrl-C.", soft_wrap=True)


def main() -> int:
    try:
        settings = ServerSettings.load()
    except AcepilotError as error:
        console.print(f"[red]error:[/red] {error.message}")
        return 2
    url = f"http://{settings.host}:{settings.port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "server"], env={"ACEPILOT_LOG_LEVEL": "warning", **os.environ}
    )
    try:
        wait_until_ready(url, server)
        asyncio.run(show_completions(url))
        tell_how_to_connect(url)
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
