"""`python -m lsp --doctor`: check every step from the settings to a completion, and say how to repair it.

Exit code 0 if all checks pass, else 1.
"""

import asyncio
import json
import sys
import time
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.text import Text

from acepilot.cli import text_console
from acepilot.protocol import CompletionRequest
from acepilot.untrusted_text import printable
from lsp.answers import ServerError, version_advice
from lsp.client import CompletionClient
from lsp.settings import LspSettings

SAMPLE = CompletionRequest(
    prompt="def add(a: int, b: int) -> int:\n    return ",
    suffix="\n\n\nprint(add(1, 2))\n",
    language="python",
    path="sample.py",
    mode="auto",
)
SHOWN_CHARS = 80  # of the sample's completion

EDITORS = {
    "VS Code": "our extension, which `make vsix` packages, with {command} as its `acepilot.command`",
    "Neovim": "vim.lsp.config('acepilot', {{ cmd = {{ '{path}' }}, root_markers = {{ '.git' }} }}); "
    "vim.lsp.enable('acepilot')  -- 0.12: vim.lsp.inline_completion.enable()",
    "any LSP editor": "run {command} over stdio for all languages; editors with LSP 3.18's "
    "textDocument/inlineCompletion show ghost text, others show the completion menu",
}


@dataclass(frozen=True)
class Check:
    """One line of the report: what was checked, what was found, and what to do about it."""

    name: str
    ok: bool
    seen: str
    advice: str = ""


async def examine(settings: LspSettings) -> list[Check]:
    """Run all checks in the order in which they depend on each other; stop after the first that fails."""
    async with aclosing(CompletionClient(settings)) as client:
        checks = await _server_checks(client, settings)
        if all(check.ok for check in checks):
            checks.append(await _completion_check(client, settings))
        return checks


async def _server_checks(client: CompletionClient, settings: LspSettings) -> list[Check]:
    try:
        ready = await client.check()
    except ServerError as error:
        if error.state == "unauthorized":
            return [
                Check("server", True, f"{client.url} answers"),
                Check("token", False, "refused", error.message),
            ]
        return [Check("server", False, f"{client.url}: {error.state}", error.message)]
    token = "set, and not refused" if settings.token is not None else "not set, and not required"
    checks = [await _version_check(client), Check("token", True, token)]
    if ready.status == "ready":
        return [*checks, Check("model", True, f"{ready.model} is ready ({ready.engine})")]
    advice = (
        "Wait until the model is loaded, then run this again."
        if ready.status == "loading"
        else "See the server's log; `python -m server --help` says how to choose another model."
    )
    return [*checks, Check("model", False, f"{ready.model}: {ready.status}. {ready.detail}".strip(), advice)]


async def _version_check(client: CompletionClient) -> Check:
    try:
        version = await client.version()
    except ServerError:
        return Check("server", True, f"{client.url} answers, but does not report its version")
    return Check("server", True, f"{client.url} answers, version {version}", version_advice(version))


async def _completion_check(client: CompletionClient, settings: LspSettings) -> Check:
    started = time.perf_counter()
    first_ms: float | None = None
    text, reason = "", ""
    try:
        async with aclosing(client.stream(SAMPLE)) as chunks:
            async for chunk in chunks:
                if chunk.choices and chunk.choices[0].text:
                    first_ms = first_ms or (time.perf_counter() - started) * 1000
                    text += chunk.choices[0].text
                if chunk.acepilot is not None and chunk.acepilot.text is not None:
                    text, reason = chunk.acepilot.text, chunk.acepilot.reason
    except ServerError as error:
        return Check("completion", False, error.state, error.message)
    total_ms = (time.perf_counter() - started) * 1000
    if not text:
        return Check("completion", False, f"empty. {reason}".strip(), "Try a larger or code-trained model.")
    shown = printable(text, SHOWN_CHARS)
    seen = f"`return {shown}` in {total_ms:.0f} ms, first token after {first_ms or total_ms:.0f} ms"
    if total_ms > settings.time_budget_ms:
        advice = "Slower than --time-budget-ms: raise it, or serve a smaller model."
        return Check("completion", False, seen, advice)
    return Check("completion", True, seen)


def editor_hints() -> dict[str, str]:
    """Return how to start this language server from each editor."""
    # Not `python -m lsp`: that would import a folder called `lsp` of the project that the editor opened.
    command = str(Path(sys.executable).with_name("acepilot-lsp"))
    return {editor: hint.format(command=f"`{command}`", path=command) for editor, hint in EDITORS.items()}


def main(settings: LspSettings, *, as_json: bool) -> int:
    checks = asyncio.run(examine(settings))
    ok = all(check.ok for check in checks)
    if as_json:
        report = {"ok": ok, "checks": [asdict(check) for check in checks], "editors": editor_hints()}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return 0 if ok else 1
    console = text_console()
    for check in checks:
        mark = ("ok  ", "green") if check.ok else ("FAIL", "red")
        console.print(Text.assemble(mark, f" {check.name}: {check.seen}"))
        if check.advice:
            console.print(f"     -> {check.advice}", style="yellow")
    console.print("\nEditors:")
    for editor, hint in editor_hints().items():
        console.print(Text.assemble("  ", (editor, "bold"), f": {hint}"))
    return 0 if ok else 1
