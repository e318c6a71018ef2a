"""GitHub's search, against a local server that answers as GitHub does: pages, rate limits, failures."""

import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from acepilot.errors import DownloadFailed
from finetune.scrape.github_search import Search, search

WANTED = Search("vue", ("MIT", "Apache-2.0"), stars=100, pushed_after="2025-01-01", limit=5)
Answer = tuple[int, dict[str, str], Any]


class Requests:
    """The requests that the server received: queries and authorization headers."""

    def __init__(self) -> None:
        self.queries: list[dict[str, str]] = []
        self.tokens: list[str | None] = []


@contextmanager
def github(answer: Callable[[dict[str, str], int], Answer]) -> Generator[tuple[str, Requests]]:
    """Run a server; `answer` returns (status, headers, body) for a query and the request's number."""
    requests = Requests()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            requests.queries.append(query)
            requests.tokens.append(self.headers.get("Authorization"))
            status, headers, body = answer(query, len(requests.queries))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value.replace("HERE", f"http://127.0.0.1:{self.server.server_port}"))  # type: ignore[attr-defined]
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def items(*named: tuple[str, int]) -> dict[str, Any]:
    return {"items": [{"full_name": name, "stargazers_count": stars} for name, stars in named]}


def test_pages_are_followed_and_licences_are_merged_by_stars() -> None:
    def answer(query: dict[str, str], _: int) -> Answer:
        if "license:apache-2.0" in query.get("q", ""):
            return 200, {}, items(("d/apache", 250))
        if query.get("page") == "2":
            return 200, {}, items(("c/third", 200))
        return (
            200,
            {"Link": '<HERE/search/repositories?page=2>; rel="next"'},
            items(("a/first", 900), ("b/second", 300)),
        )

    with github(answer) as (url, requests):
        found = search(WANTED, "secret-token", api_url=url)
    assert [source.name for source in found] == ["a/first", "b/second", "d/apache", "c/third"]
    assert requests.tokens == ["Bearer secret-token"] * 3
    assert (
        requests.queries[0]["q"] == "language:vue license:mit stars:>=100 archived:false pushed:>=2025-01-01"
    )


def test_no_more_pages_are_asked_for_than_the_limit_needs() -> None:
    def answer(query: dict[str, str], _: int) -> Answer:
        return (
            200,
            {"Link": '<HERE/search/repositories?page=2>; rel="next"'},
            items(*[(f"o/{n}", n) for n in range(9)]),
        )

    with github(answer) as (url, requests):
        found = search(WANTED, None, api_url=url)
    assert len(found) == 5
    assert len(requests.queries) == len(WANTED.licences)


@pytest.mark.parametrize(
    ("headers", "least_s", "most_s"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "IN AN HOUR"}, 3000, 3601),
    ],
)
def test_rate_limits_are_waited_for(headers: dict[str, str], least_s: float, most_s: float) -> None:
    waits: list[float] = []

    def answer(_: dict[str, str], count: int) -> Answer:
        in_an_hour = str(
            int(time.time()) + 3600
        )  # computed at the answer, because the tests were collected long before
        sent = {name: value.replace("IN AN HOUR", in_an_hour) for name, value in headers.items()}
        return (403, sent, {"message": "limit"}) if count == 1 else (200, {}, items(("a/b", 1)))

    with github(answer) as (url, _):
        found = search(WANTED, None, api_url=url, sleep=waits.append)
    assert [source.name for source in found] == ["a/b"]
    assert len(waits) == 1
    assert least_s <= waits[0] <= most_s


def test_a_refusal_has_githubs_message() -> None:
    with (
        github(lambda query, count: (422, {}, {"message": "Validation Failed"})) as (url, _),
        pytest.raises(DownloadFailed, match="422: Validation Failed"),
    ):
        search(WANTED, None, api_url=url)


def test_a_failing_server_is_asked_again() -> None:
    def answer(_: dict[str, str], count: int) -> Answer:
        return (502, {}, {}) if count < 3 else (200, {}, items(("a/b", 1)))

    with github(answer) as (url, _):
        assert search(WANTED, None, api_url=url, sleep=lambda _: None)


def test_without_a_network_the_error_names_another_kind_of_source() -> None:
    with pytest.raises(DownloadFailed, match="npm: sources"):
        search(WANTED, None, api_url="http://127.0.0.1:9", sleep=lambda _: None)
