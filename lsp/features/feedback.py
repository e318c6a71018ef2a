"""What an editor says itself of a completion: that it was accepted, shown, or accepted in part.

`workspace/executeCommand` `acepilot.accepted` is the command of every item, which an editor runs after it
inserted it. It answers with this session's counts, for whoever wants to see them. The two notifications are
Copilot's: `textDocument/didShowCompletion` {item}, `textDocument/didPartiallyAcceptCompletion` {item,
acceptedLength}, the length cumulative, in UTF-16 units of the item's text. What an editor does not say,
outcomes.py infers from its changes.
"""

import logging
from typing import Any

from lsprotocol import types
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pygls.lsp.server import LanguageServer

from lsp.feedback.offer import Key
from lsp.feedback.outcomes import Outcomes
from lsp.keystroke.answer import Suggestion
from lsp.text.positions import index_from_units, readable

ACCEPTED = "acepilot.accepted"
DID_SHOW = "textDocument/didShowCompletion"
DID_ACCEPT_PART = "textDocument/didPartiallyAcceptCompletion"

logger = logging.getLogger("acepilot.lsp")


class _Command(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    arguments: tuple[str] | tuple[str, int]

    @property
    def key(self) -> Key:
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
    """What the editor is to run once it has inserted the suggestion."""
    identity = suggestion.key if suggestion.choice else (suggestion.id,)
    return types.Command(title="Accept completion", command=ACCEPTED, arguments=list(identity))


def register(server: LanguageServer, outcomes: Outcomes) -> None:
    @server.command(ACCEPTED)
    def accepted(*arguments: Any) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        try:
            outcomes.said_accepted(_Command.model_validate({"arguments": arguments}).key)
        except ValidationError:
            _not_ours(ACCEPTED)
        return {"shown": outcomes.shown, "accepted": outcomes.accepted}

    @server.feature(DID_SHOW)
    def shown(params: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        try:
            outcomes.said_shown(_Shown.model_validate(params).item.command.key)
        except ValidationError:
            _not_ours(DID_SHOW)

    @server.feature(DID_ACCEPT_PART)
    def accepted_part(params: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        try:
            told = _AcceptedPart.model_validate(params)
        except ValidationError:
            _not_ours(DID_ACCEPT_PART)
            return
        text = told.item.insert_text
        taken = readable(text[: index_from_units(text, told.accepted_length, "utf-16")])
        outcomes.said_accepted_part(told.item.command.key, readable(text), len(taken))


def _not_ours(method: str) -> None:
    # Without pydantic's words, which quote what was received: it may be code.
    logger.warning("The editor's %s names no completion of Acepilot's: it is not counted.", method)
