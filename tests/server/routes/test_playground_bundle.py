"""The committed bundle of the playground and the routes that serve it, without Node and without a browser."""

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from server.routes.playground import router

PLAYGROUND = Path(__file__).parents[3] / "server" / "playground"
DIST = PLAYGROUND / "dist"


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.include_router(router)
    return TestClient(app)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/app.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/THIRD-PARTY.txt", "text/plain; charset=utf-8"),
    ],
)
def test_each_file_has_its_type_and_the_safe_headers(
    client: TestClient, path: str, content_type: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == content_type
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert "script-src" not in policy  # falls back to default-src: no inline script, no eval
    assert client.head(path).headers["content-length"] == answer.headers["content-length"]


@pytest.mark.parametrize(
    "path", ["/v1/completions", "/health", "/anything", "/dist/app.js", "/..%2fpackage.json"]
)
def test_other_paths_stay_free_for_other_routes(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_every_file_that_the_page_names_is_served(client: TestClient) -> None:
    names = re.findall(r'(?:src|href)="([^"]+)"', client.get("/").text)
    assert {"app.js", "app.css", "icon.svg"} <= set(names)
    for name in names:
        assert client.get(f"/{name}").status_code == 200, name


def test_every_file_of_the_bundle_has_a_route(client: TestClient) -> None:
    for file in DIST.iterdir():
        path = "/" if file.name == "index.html" else f"/{file.name}"
        assert client.get(path).content == file.read_bytes()


def test_nothing_is_loaded_from_elsewhere() -> None:
    for name in ("index.html", "app.css"):
        assert not re.search(r"(?:https?:)?//[\w.-]+", (DIST / name).read_text(encoding="utf-8")), name
    script = (DIST / "app.js").read_text(encoding="utf-8")
    # The name of the SVG namespace is an identifier: nothing loads it.
    urls = set(re.findall(r"https?://[^\s\"'`)\\]+", script)) - {"http://www.w3.org/2000/svg"}
    assert not urls
    assert "sourceMappingURL" not in script
    assert "/work/" not in script
    assert "node_modules" not in script


def test_the_page_has_no_inline_script_or_handler() -> None:
    page = (DIST / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script\b[^>]*>(.*?)</script>", page, re.DOTALL) == [""]
    assert not re.search(r"\son\w+=", page)


def test_bundled_packages_come_with_their_licences() -> None:
    text = (DIST / "THIRD-PARTY.txt").read_text(encoding="utf-8")
    for package in (
        "@codemirror/state",
        "@codemirror/view",
        "@codemirror/lang-vue",
        "@lezer/lr",
        "style-mod",
    ):
        assert f"\n{package} " in text
    assert text.count("=" * 78) == text.count("Permission is hereby granted, free of charge")


def test_the_lock_file_names_no_registry() -> None:
    lock = (PLAYGROUND / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert not [line for line in lock.splitlines() if "://" in line and "https://github.com/" not in line]
