"""Draw messages that no editor should send a language server, and some that it should; for fuzz.py.

A seeded generator draws valid methods in a wrong order, valid shapes with wrong values, wrong shapes, and
text that is not JSON-RPC. The frames are whole: with a wrong Content-Length two messages become one, and the
next one cannot be found (`BROKEN_FRAMES` go to a server of their own).
"""

import json
import random
from typing import Any

URIS = ("file:///a.py", "file:///b.vue", "file:///никто.ts", "untitled:Untitled-1", "", "::::", "file:///%zz")
TEXTS = ("", "x", "def f(:\n    \n", "é𝒳\r\nb\rc\u2028d", "\ud800", "\0\0\0", "(" * 300, "a\n" * 500)
ARGUMENTS: tuple[Any, ...] = ([], ["x"], [None], [{}], None, "x")
SETTINGS: tuple[Any, ...] = ({}, None, [])
FOLDERS: tuple[Any, ...] = (
    [{"uri": "file:///", "name": "root"}], [{"uri": "file:///%zz", "name": ""}, {"uri": "::::", "name": "x"}],
    [{"uri": "file:///a.py", "name": "x"}] * 2, [{"name": "x"}], [None], [], None, "x",
)  # fmt: skip
COMMANDS = ("acepilot.accepted", "acepilot.explain", "no.such", "")
OTHER_KINDS: tuple[Any, ...] = (None, 1, "x", [], {}, "2.0", True)
NUMBERS: tuple[Any, ...] = (0, 1, 2, 7, -1, 2**31 - 1, 2**31, 2**63, 1.5, "1", None, [], {})
METHODS = (
    "initialize", "initialized", "textDocument/didOpen", "textDocument/didChange",
    "textDocument/didClose", "textDocument/didSave", "textDocument/inlineCompletion",
    "textDocument/completion", "textDocument/didShowCompletion", "textDocument/didPartiallyAcceptCompletion",
    "workspace/executeCommand", "workspace/didChangeConfiguration", "workspace/didChangeWorkspaceFolders",
    "$/cancelRequest", "$/setTrace", "$/progress", "no/suchMethod", "",
)  # fmt: skip
BROKEN_FRAMES = (
    b"Content-Length: 5\r\n\r\n{}",
    b"Content-Length: -1\r\n\r\n{}",
    b"Content-Length: many\r\n\r\n{}",
    b"Content-Length: 99999999999\r\n\r\n{}",
    b"\r\n\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    bytes(range(256)),
)


def frame(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Fuzzer:
    """Draw message bodies without end. The same seed draws the same ones."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._number = 1_000_000

    def body(self) -> bytes:
        if self._chance.random() < 0.05:
            return self._chance.choice(
                (b"", b"null", b"[]", b"{", b'"x"', b"\xff\xfe", b"[[[[" * 500, b"1e999")
            )
        message = self._message()
        if self._chance.random() < 0.1:
            message = self._damaged(message)
        return json.dumps(message).encode()

    def _message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": self._chance.choice(METHODS)}
        if self._chance.random() < 0.6:
            self._number += 1
            message["id"] = self._number
        if self._chance.random() < 0.95:
            message["params"] = self._params()
        return message

    def _params(self) -> Any:
        pick = self._chance.choice
        document: dict[str, Any] = {
            "uri": pick(URIS), "languageId": pick(("python", "vue", "", "x" * 200)), "version": pick(NUMBERS)
        }  # fmt: skip
        document["text"] = pick(TEXTS)
        change: dict[str, Any] = {"text": pick(TEXTS)}
        if self._chance.random() < 0.8:
            change["range"] = {"start": self._position(), "end": self._position()}
        everything: dict[str, Any] = {
            "textDocument": document,
            "contentChanges": [change] * self._chance.randrange(4),
            "position": self._position(),
            "context": {"triggerKind": pick((1, 2, 3, 0, None))} | self._selected(),
            "item": {"insertText": pick(TEXTS), "command": {"arguments": [pick(TEXTS)]}},
            "acceptedLength": pick(NUMBERS),
            "command": pick(COMMANDS),
            "arguments": pick(ARGUMENTS),
            "id": self._number - self._chance.randrange(5),
            "capabilities": pick(({}, {"general": {"positionEncodings": ["utf-8"]}}, None)),
            "processId": None,
            "rootUri": pick((*URIS, None)),
            "workspaceFolders": pick(FOLDERS),
            "event": {"added": pick(FOLDERS), "removed": pick(FOLDERS)},
            "settings": pick(SETTINGS),
        }
        for name in list(everything):
            if self._chance.random() < 0.15:
                del everything[name]
        return everything if self._chance.random() < 0.95 else pick(([], None, "x", 1))

    def _selected(self) -> dict[str, Any]:
        """Return the item that is chosen in the editor's own menu, if any."""
        pick = self._chance.choice
        chosen = {"range": {"start": self._position(), "end": self._position()}, "text": pick(TEXTS)}
        return pick(({}, {"selectedCompletionInfo": pick((chosen, chosen, *OTHER_KINDS))}))

    def _position(self) -> Any:
        pick = self._chance.choice
        if self._chance.random() < 0.7:
            return {"line": self._chance.randrange(6), "character": self._chance.randrange(20)}
        return {"line": pick(NUMBERS), "character": pick(NUMBERS)}

    def _damaged(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the message with one part missing or of another kind."""
        name = self._chance.choice(sorted(message))
        if self._chance.random() < 0.5:
            return {key: value for key, value in message.items() if key != name}
        return message | {name: self._chance.choice(OTHER_KINDS)}
