"""JSON-RPC as LSP wants it: every request gets exactly one response.

pygls answers the requests that it can read. It drops those whose parameters do not have LSP's types, those
after `shutdown`, and those whose method is a notification's.
"""

import json
from dataclasses import dataclass
from typing import Any, cast

from lsprotocol import types
from pygls.protocol import LanguageServerProtocol
from pygls.protocol.json_rpc import RPCMessage, RPCRequest

_Id = int | str | None


@dataclass(frozen=True)
class _Refused:
    """A request that is answered with an error. `id` is None if the request's id is not valid."""

    id: _Id
    code: types.ErrorCodes
    message: str


class Protocol(LanguageServerProtocol):
    _got_shutdown = False

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Return the message in `data`, or a refusal. json.loads calls this for each object in a body too."""
        if not ("jsonrpc" in data and "method" in data and "id" in data):
            return super().structure_message(data)  # a notification, a response, or any object in a message
        refusal = _refusal(data)
        if refusal is not None:
            return refusal
        try:
            message = super().structure_message(data)
        except Exception:
            text = f"The parameters of {data['method']} do not have the types that LSP says."
            return _Refused(data["id"], types.ErrorCodes.InvalidParams, text)
        if not isinstance(message, RPCRequest):
            text = f"{data['method']} is a notification: send it without an id."
            return _Refused(data["id"], types.ErrorCodes.InvalidRequest, text)
        return message

    def handle_message(self, message: RPCMessage | _Refused | dict[str, Any]) -> None:
        if isinstance(message, dict) and "method" in message and "id" in message:
            message = _refusal(message) or _Refused(None, types.ErrorCodes.InvalidRequest, "")
        elif isinstance(message, RPCRequest) and self._got_shutdown:
            text = "The language server is shutting down."
            message = _Refused(message.id, types.ErrorCodes.InvalidRequest, text)
        if isinstance(message, _Refused):
            self._answer(message)
            return
        self._got_shutdown = self._got_shutdown or getattr(message, "method", "") == types.SHUTDOWN
        super().handle_message(cast(RPCMessage, message))

    def _answer(self, refused: _Refused) -> None:
        error = {"code": refused.code.value, "message": refused.message}
        body = json.dumps({"jsonrpc": self.VERSION, "id": refused.id, "error": error}).encode()
        if self.writer is not None:
            self.writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))


def _refusal(data: dict[str, Any]) -> _Refused | None:
    """Return why an object with an id and a method is not a request, or None if it is one."""
    number = data["id"]
    if isinstance(number, bool) or not isinstance(number, int | str):
        return _Refused(None, types.ErrorCodes.InvalidRequest, "A request's id is a number or a string.")
    if data.get("jsonrpc") != LanguageServerProtocol.VERSION or not isinstance(data["method"], str):
        text = 'A request has "jsonrpc": "2.0", and the name of a method.'
        return _Refused(number, types.ErrorCodes.InvalidRequest, text)
    return None
