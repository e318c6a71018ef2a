"""Scrape, step 1: find GitHub repositories by language, licence, stars and activity, with the REST API."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import httpx

from acepilot.errors import DownloadFailed
from acepilot.http_answers import retry_after_s
from acepilot.untrusted_text import printable
from finetune.scrape.sources import Source, parse_source

API_URL = "https://api.github.com"
_PAGE = 100  # results in one answer; GitHub's maximum
_MAX_RESULTS = 1_000  # GitHub returns no more for one query
_LONGEST_WAIT_S = 3_600.0  # GitHub's limits end after an hour at most
_TRIES = 5  # of one request, before the search fails


@dataclass(frozen=True)
class Search:
    """What to search for: `limit` repositories of at least `stars` stars. Dates are like 2025-01-01."""

    language: str
    licences: tuple[str, ...]
    stars: int
    pushed_after: str | None
    limit: int


def search(
    wanted: Search,
    token: str | None,
    *,
    api_url: str = API_URL,
    log: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Source]:
    """Return the matching repositories with most stars. Raises DownloadFailed when GitHub refuses or is away.

    Each licence is one query, because GitHub's search has no "or".
    """
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    stars: dict[str, int] = {}
    with httpx.Client(base_url=api_url, headers=headers, timeout=30, follow_redirects=True) as client:
        api = _Api(client, log, sleep)
        for licence in wanted.licences:
            query = (
                f"language:{wanted.language} license:{licence.lower()} stars:>={wanted.stars} archived:false"
            )
            if wanted.pushed_after:
                query += f" pushed:>={wanted.pushed_after}"
            for count, item in enumerate(api.items(query), 1):
                stars[str(item["full_name"])] = int(item["stargazers_count"])
                # Sorted by stars: a later result cannot be among the first `limit`.
                if count >= min(wanted.limit, _MAX_RESULTS):
                    break
    ranked = sorted(stars, key=lambda name: (-stars[name], name))
    return [parse_source(f"github:{name}") for name in ranked[: wanted.limit]]


@dataclass(frozen=True)
class _Api:
    """GitHub's REST API. A request waits as the rate limit demands; `log` says for how long."""

    client: httpx.Client
    log: Callable[[str], None]
    sleep: Callable[[float], None]

    def items(self, query: str) -> Iterator[dict[str, Any]]:
        """Yield search results of all pages, following GitHub's `Link` header."""
        params = {"q": query, "sort": "stars", "order": "desc", "per_page": str(_PAGE)}
        response = self._get("/search/repositories", params)
        while True:
            yield from cast(list[dict[str, Any]], response.json()["items"])
            following = response.links.get("next")
            if following is None:
                return
            response = self._get(following["url"])

    def _get(self, url: str, params: dict[str, str] | None = None) -> httpx.Response:
        for attempt in range(_TRIES):
            try:
                response = self.client.get(url, params=params)
            except httpx.TransportError as error:
                if attempt + 1 == _TRIES:
                    raise DownloadFailed(
                        f"GitHub ({self.client.base_url.host}) cannot be reached: {error}. If only a package "
                        "mirror is reachable, use npm: sources instead."
                    ) from error
                self.sleep(2**attempt)
                continue
            if response.is_success:
                return response
            wait_s = _wait_s(response, attempt)
            if wait_s is None:
                raise DownloadFailed(f"GitHub answers {response.status_code}: {_message(response)}")
            self.log(f"GitHub asks to wait {wait_s:.0f} s (set GITHUB_TOKEN for a higher limit)")
            self.sleep(wait_s)
        raise DownloadFailed(
            f"GitHub still refuses after {_TRIES} waits: try again later, with GITHUB_TOKEN set."
        )


def _wait_s(response: httpx.Response, attempt: int) -> float | None:
    """Return the seconds to wait by GitHub's headers; None when waiting does not help."""
    if response.status_code in (403, 429):
        if "retry-after" in response.headers:
            return retry_after_s(response.headers["retry-after"], 60.0, _LONGEST_WAIT_S)
        if response.headers.get("x-ratelimit-remaining") == "0":
            reset = response.headers.get("x-ratelimit-reset", "0")
            wait_s = float(reset) - time.time() if reset.isascii() and reset.isdigit() else 0.0
            return min(max(wait_s, 0.0) + 1.0, _LONGEST_WAIT_S)
        return 60.0 if "rate limit" in response.text.lower() else None  # the secondary limit has no header
    return float(2**attempt) if response.status_code >= 500 else None


def _message(response: httpx.Response) -> str:
    try:
        return printable(str(response.json()["message"]))
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
