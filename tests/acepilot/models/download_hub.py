"""The part of a hub's HTTP interface that fetching a model needs, on this machine."""

import contextlib
import json
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REVISION = "0123456789abcdef0123456789abcdef01234567"

MAX_SENT_BYTES = 400_000_000
"""Where an answer that has no end stops, so that a client without a limit does not fill the machine."""


class DownloadHub:
    """A hub with one model, `org/model`. After `cut_at` bytes of a file the connection breaks for good."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.card: dict[str, Any] = {"license": "apache-2.0"}
        self.refuses: tuple[int, str] | None = None
        self.cut_at: int | None = None
        self.is_down = False
        self.wrong_hash = False
        self.commit = REVISION
        self.endless: str | None = None
        """What has no end and no stated length: a file's name, `description` or `error`."""
        self.sent_bytes = 0
        self.requests: list[str] = []
        self.ranges: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "DownloadHub":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def fetched(self) -> set[str]:
        return {path.rpartition(f"{REVISION}/")[2] for path in self.requests if "/resolve/" in path}

    def description(self) -> dict[str, Any]:
        siblings = [
            {"rfilename": name, "size": len(content), "lfs": self._lfs(content) if _is_large(name) else None}
            for name, content in self.files.items()
        ]
        return {"id": "org/model", "sha": self.commit, "siblings": siblings, "cardData": self.card}

    def _lfs(self, content: bytes) -> dict[str, Any]:
        digest = "0" * 64 if self.wrong_hash else sha256(content).hexdigest()
        return {"sha256": digest, "size": len(content), "pointerSize": 130}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                hub.requests.append(path)
                if hub.endless in ("description", "error") or hub.endless == path.rpartition("/")[2]:
                    self._without_end(403 if hub.endless == "error" else 200)
                elif hub.refuses:
                    self._send(hub.refuses[0], b"{}", {"X-Error-Code": hub.refuses[1]})
                elif hub.is_down:
                    self._send(503, b"{}")
                elif path in ("/api/models/org/model", f"/api/models/org/model/revision/{REVISION}"):
                    self._send(200, json.dumps(hub.description()).encode())
                else:
                    self._file(
                        hub.files[path.partition("/org/model/resolve/")[2].removeprefix(f"{hub.commit}/")]
                    )

            def _file(self, content: bytes) -> None:
                asked = self.headers.get("Range", "")
                start = int(asked.removeprefix("bytes=").partition("-")[0] or 0)
                if asked:
                    hub.ranges.append(asked)
                end = len(content)
                if hub.cut_at is not None and len(content) > hub.cut_at:
                    end, hub.cut_at, hub.is_down = hub.cut_at, None, True
                length = {"Content-Length": str(len(content) - start)}
                self._send(206 if asked else 200, content[start:end], length)
                if end < len(content):
                    self.connection.close()

            def _without_end(self, status: int) -> None:
                self.send_response(status)
                self.end_headers()
                with contextlib.suppress(OSError):
                    while hub.sent_bytes < MAX_SENT_BYTES:
                        self.wfile.write(b"a" * 1_000_000)
                        hub.sent_bytes += 1_000_000

            def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def _is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".gguf"))
