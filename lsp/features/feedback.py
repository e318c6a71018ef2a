"""`workspace/executeCommand` `acepilot.accepted`: the editor says that a completion was taken.

Counted in memory only. The command answers with the counts, for whoever wants to see them.
"""

from collections import OrderedDict
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

ACCEPTED = "acepilot.accepted"
REMEMBERED = 1_000


class Feedback:
    """How many completions were offered and how many accepted, each counted once."""

    def __init__(self) -> None:
        self.shown = 0
        self.accepted = 0
        self._open: OrderedDict[str, bool] = OrderedDict()

    def offered(self, completion_id: str) -> types.Command:
        """Count an offer; the command that the editor runs when it is accepted."""
        if completion_id not in self._open:
            self.shown += 1
            self._open[completion_id] = False
            while len(self._open) > REMEMBERED:
                self._open.popitem(last=False)
        return types.Command(title="Accept completion", command=ACCEPTED, arguments=[completion_id])

    def accept(self, completion_id: str) -> None:
        if self._open.get(completion_id) is False:
            self.accepted += 1
            self._open[completion_id] = True


def register(server: LanguageServer, feedback: Feedback) -> None:
    @server.command(ACCEPTED)
    def accepted(completion_id: str) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        feedback.accept(completion_id)
        return {"shown": feedback.shown, "accepted": feedback.accepted}
