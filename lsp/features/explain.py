"""`workspace/executeCommand` `acepilot.explain`: why the last request was answered as it was.

The answer is the server's record (`GET /v1/explain/{id}`, acepilot.trail.Trail). It is null if the server
was not asked, cannot be reached, or no longer has the record; the status then still has its `reason`.
"""

from typing import Any

from pygls.lsp.server import LanguageServer

from lsp.keystroke.suggest import Suggester

EXPLAIN = "acepilot.explain"


def register(server: LanguageServer, suggester: Suggester) -> None:
    @server.command(EXPLAIN)
    async def explain(*_: Any) -> dict[str, Any] | None:  # pyright: ignore[reportUnusedFunction]
        trail = await suggester.last_trail()
        return None if trail is None else trail.model_dump(mode="json")
