"""What an editor reports itself about a completion: that it was accepted, shown, or accepted in part.

`workspace/executeCommand` `acepilot.accepted` is the command of every item; an editor runs it after inserting
the item. It returns the session's counts. The two notifications are Copilot's:
`textDocument/didShowCompletion` {item}, and `textDocument/didPartiallyAcceptCompletion` {item,
acceptedLength}, whose length is cumulative and in UTF-16 units of the item's text. For editors that report
none of these, outcomes.py derives the outcome from the document's changes.
"""

import logging
from typing import Any

from lsprotocol import types
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pygls.lsp.server import LanguageServer

from lsp.feedback.outcomes import Outcomes
from lsp.suggestion import CompletionKey, Suggestion
from lsp.text.positions import index_from_units, readable

ACCEPTED = "acepilot.accepted"
DID_SHOW = "textDocument/didShowCompletion"
DID_ACCEPT_PART = "textDocument/didPartiallyAcceptCompletion"

logger = logging.getLogger("acepilot.lsp")


class _Command(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    arguments: tuple[str] | tuple[str, int]

    @property
    def key(self) -> CompletionKey:
        return self.arguments if len(self.arguments) == 2 else (self.arguments[0], 0)


class _Item(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    insert_text: str = Field("", alias="insertText")
    command: _Command


class _Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    item: _Item


class _AcceptedPart(_Shown):
    accepted_length: int = Field(alias="acceptedLength", ge=0)


def when_accepted(suggestion: Suggestion) -> types.Command:
    """Return the command that the editor runs after inserting the suggestion."""
    identity = suggestion.key if suggestion.choice else (suggestion.id,)
    return types.Command(title="Accept completion", command=ACCEPTED, arguments=list(identity))


def register(server: LanguageServer, outcomes: Outcomes) -> None:
    @server.command(ACCEPTED)
    def accepted(*arguments: Any) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        try:
            outcomes.report_accepted(_Command.model_validate({"arguments": arguments}).key)
        except ValidationError:
            _log_unknown(ACCEPTED)
        return {"shown": outcomes.shown, "accepted": outcomes.accepted}

    @server.feature(DID_SHOW)
    def shown(params: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        try:
            outcomes.report_shown(_Shown.model_validate(params).item.command.key)
        except ValidationError:
            _log_unknown(DID_SHOW)

    @server.feature(DID_ACCEPT_PART)
    def accepted_part(params: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        try:
            part = _AcceptedPart.model_validate(params)
        except ValidationError:
            _log_unknown(DID_ACCEPT_PART)
            return
        text = part.item.insert_text
        taken = readable(text[: index_from_units(text, part.accepted_length, "utf-16")])
        outcomes.report_accepted_part(part.item.command.key, readable(text), len(taken))


def _log_unknown(method: str) -> None:
    # Without pydantic's message, which quotes what was received: it may be code.
    logger.warning("The editor's %s names no completion of Acepilot: it is not counted.", method)
