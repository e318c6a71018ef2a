"""The part of a hub's HTTP interface that publishing a model needs. It keeps the files it gets."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPOSITORY = "ours/model"
TOKEN = "hf_of_the_test"


class UploadHub:
    """A hub with one repository. `visibility` is None until it exists; *.gguf files arrive by git-lfs."""

    def __init__(self) -> None:
        self.visibility: str | None = None
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.refuses_with: int | None = None
        self._large: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "UploadHub":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: bytes, token: str) -> tuple[int, dict[str, Any]]:
        self.requests.append(f"{method} {path}")
        if method == "PUT" and path.startswith("/large/"):
            self._large[path.removeprefix("/large/")] = body
            return 200, {}
        if self.refuses_with or token != f"Bearer {TOKEN}":
            return self.refuses_with or 401, {"error": "not with this token"}
        document = json.loads(body) if body and not path.endswith("/commit/main") else {}
        match method, path:
            case "POST", "/api/repos/create":
                new, self.visibility = self.visibility is None, self.visibility or document["visibility"]
                return (200 if new else 409), {"url": f"{self.url}/{REPOSITORY}", "error": "it exists"}
            case "GET", "/api/models/ours/model":
                return 200, {"id": REPOSITORY, "private": self.visibility == "private", "siblings": []}
            case "POST", "/api/validate-yaml":
                return 200, {"warnings": [], "errors": []}
            case "POST", "/api/models/ours/model/preupload/main":
                return 200, {"files": [_upload_mode(file["path"]) for file in document["files"]]}
            case "POST", "/ours/model.git/info/lfs/objects/batch":
                return 200, {"objects": [self._upload(item) for item in document["objects"]]}
            case "POST", "/api/models/ours/model/commit/main":
                for line in body.splitlines():
                    self._commit(json.loads(line))
                return 200, {"commitUrl": f"{self.url}/{REPOSITORY}/commit/1", "commitOid": "1"}
            case _:
                return 404, {"error": "no such thing on this hub"}

    def _upload(self, item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "actions": {"upload": {"href": f"{self.url}/large/{item['oid']}"}}}

    def _commit(self, line: dict[str, Any]) -> None:
        value = line["value"]
        if line["key"] == "file":
            self.files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            self.files[value["path"]] = self._large[value["oid"]]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = self._chunks()
                token = self.headers.get("Authorization", "")
                status, document = hub.answer(self.command, self.path, body, token)
                content = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _chunks(self) -> bytes:
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            do_GET = do_POST = do_PUT = _answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def _upload_mode(path: str) -> dict[str, Any]:
    mode = "lfs" if path.endswith(".gguf") else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False}
