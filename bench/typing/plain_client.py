"""A client for the peers, as plain as most completion plugins.

After each key it waits `DEBOUNCE_S`, renders fill-in-the-middle over the same window of the file as our
server (the same token budget and clipping, so that the peer's prefix cache works as well as it can), and asks
greedily for up to `MAX_TOKENS` that end at a blank line. The next key closes the connection. It has no cache;
editor.py keeps ghost text in sight while it is typed along, for every contestant.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
from tokenizers import Tokenizer

from acepilot.fim import format_for
from acepilot.prompt import compose
from bench.typing.editor import PATIENCE_S, NoAnswer

DEBOUNCE_S = 0.1
"""Seconds without a key before a request is sent."""
BUDGET_TOKENS = 1536
"""Tokens of a prompt: the default of our server's `--prompt-budget-tokens`."""
MAX_TOKENS = 64
STOP = ["\n\n"]


class PlainClient:
    """One document over an OpenAI-style server. It is an `Assistant` of editor.py."""

    def __init__(
        self, http: httpx.AsyncClient, model: str, tokenizer: Tokenizer, extra: Mapping[str, Any]
    ) -> None:
        """`extra` has the fields that this server needs in each request besides OpenAI's."""
        self._http = http
        self._body = {"model": model, "max_tokens": MAX_TOKENS, "temperature": 0, "stop": STOP, **extra}
        self._tokenizer = tokenizer
        self._special_tokens = {
            token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special
        }
        self._fim = format_for(self._special_tokens)
        self._before = ""
        self._after = ""

    async def open(self, name: str, language: str, before: str, after: str) -> None:
        self._before, self._after = before, after

    def insert(self, text: str) -> None:
        self._before += text

    def delete(self) -> None:
        self._before = self._before[:-1]

    async def ask(self) -> str:
        await asyncio.sleep(DEBOUNCE_S)
        body = {"prompt": self.prompt(), **self._body}
        try:
            response = await self._http.post("/v1/completions", json=body, timeout=PATIENCE_S)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise NoAnswer(type(error).__name__) from error
        text = str(response.json()["choices"][0]["text"])
        return text if text.strip() else ""

    async def close(self) -> None:
        pass

    def prompt(self) -> str:
        """Render the window around the cursor as our server would."""
        return compose(
            self._before,
            self._after,
            fim=self._fim,
            special_tokens=self._special_tokens,
            budget_tokens=BUDGET_TOKENS,
            count_tokens=self._count,
        ).text

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)
