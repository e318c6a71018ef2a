"""Scrape, step 1 for GitHub: repositories by language, licence, stars and activity, through the REST API."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import httpx

from acepilot.errors import DownloadFailed
from finetune.scrape.sources import Source

API_URL = "https://api.github.com"
_PAGE = 100
_SEARCH_CAP = 1_000  # GitHub answers no more than that to one query
_TRIES = 5


@dataclass(frozen=True)
class Search:
    """`pushed_after` is a date, such as 2025-01-01. `limit` counts repositories."""

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
    """The most starred repositories that fit. One query a licence: GitHub's search knows no "or".

    Raises DownloadFailed when GitHub cannot be reached or refuses.
    """
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    stars: dict[str, int] = {}
    with httpx.Client(base_url=api_url, headers=headers, timeout=30, follow_redirects=True) as client:
        for licence in wanted.licences:
            query = (
                f"language:{wanted.language} license:{licence.lower()} stars:>={wanted.stars} archived:false"
            )
            if wanted.pushed_after:
                query += f" pushed:>={wanted.pushed_after}"
            for count, item in enumerate(_items(client, query, log, sleep), 1):
                stars[item["full_name"]] = item["stargazers_count"]
                if count >= min(
                    wanted.limit, _SEARCH_CAP
                ):  # sorted by stars: the rest cannot be among the first
                    break
    ranked = sorted(stars, key=lambda name: (-stars[name], name))
    return [Source("github", name) for name in ranked[: wanted.limit]]


def _items(
    client: httpx.Client, query: str, log: Callable[[str], None], sleep: Callable[[float], None]
) -> Iterator[dict[str, Any]]:
    """Search results, page after page by GitHub's own `Link` header."""
    response = _get(
        client,
        "/search/repositories",
        {"q": query, "sort": "stars", "order": "desc", "per_page": str(_PAGE)},
        log,
        sleep,
    )
    while True:
        yield from cast(list[dict[str, Any]], response.json()["items"])
        following = response.links.get("next")
        if following is None:
            return
        response = _get(client, following["url"], None, log, sleep)


def _get(
    client: httpx.Client,
    url: str,
    params: dict[str, str] | None,
    log: Callable[[str], None],
    sleep: Callable[[float], None],
) -> httpx.Response:
    """One answer, after as many waits as GitHub's rate limit asks for."""
    for attempt in range(_TRIES):
        try:
            response = client.get(url, params=params)
        except httpx.TransportError as error:
            if attempt + 1 == _TRIES:
                raise DownloadFailed(
                    f"GitHub ({client.base_url}) cannot be reached: {error}. Where only a package mirror is "
                    "reachable, name npm: sources instead."
                ) from error
            sleep(2**attempt)
            continue
        if response.is_success:
            return response
        wait_s = _wait_s(response, attempt)
        if wait_s is None:
            raise DownloadFailed(f"GitHub answers {response.status_code}: {_message(response)}")
        log(f"GitHub asks to wait {wait_s:.0f} s (set GITHUB_TOKEN for a higher limit)")
        sleep(wait_s)
    raise DownloadFailed(
        f"GitHub still refuses after {_TRIES} waits: try again later, with GITHUB_TOKEN set."
    )


def _wait_s(response: httpx.Response, attempt: int) -> float | None:
    """How long GitHub wants us to wait, by its headers; None when waiting does not help."""
    if response.status_code in (403, 429):
        if "retry-after" in response.headers:
            return float(response.headers["retry-after"])
        if response.headers.get("x-ratelimit-remaining") == "0":
            return max(float(response.headers.get("x-ratelimit-reset", "0")) - time.time(), 0.0) + 1.0
        return 60.0 if "rate limit" in response.text.lower() else None  # the secondary limit has no header
    return float(2**attempt) if response.status_code >= 500 else None


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
