"""OpenAI's `logprobs`, a step of service.py: values by the engine's `score`, texts by what it counts.

An engine tells the probability of a text's tokens, but not where in the text each of them ends. That is found
by counting: where a text can be cut without gaining a token, one of its tokens ends.
"""

import asyncio
from collections.abc import AsyncGenerator

from acepilot.prompt import CountTokens
from acepilot.protocol import LogProbs
from server.engine.base import Engine

WINDOW_CHARS = 160
"""Longer than any token: what stands further away does not change where the next one ends."""


async def log_probs(engine: Engine, prompt: str, text: str) -> LogProbs:
    """Of `text` after `prompt`. Raises EngineFailed, also where the engine cannot score."""
    values = await engine.score(prompt, text) if text else []
    pieces = [piece async for piece in _pieces(text, engine.count_tokens)]
    if sum(count for _, count in pieces) != len(values):  # no cut is sure: the whole text, with its sum
        pieces = [(text, len(values))]
    answer = LogProbs(tokens=[], token_logprobs=[], text_offset=[])
    offset = read = 0
    for piece, count in pieces:
        answer.tokens.append(piece)
        answer.token_logprobs.append(sum(values[read : read + count]))
        answer.text_offset.append(offset)
        offset, read = offset + len(piece), read + count
    return answer


async def _pieces(text: str, count_tokens: CountTokens) -> AsyncGenerator[tuple[str, int]]:
    """The text of each token, with how many it is: one, or those that share a character."""
    start = 0
    while start < len(text):
        window = text[start : start + WINDOW_CHARS]
        end, count = _first_end(window, count_tokens)
        yield window[:end], count
        start += end
        await asyncio.sleep(0)  # a long text takes a while, and others wait for this loop


def _first_end(window: str, count_tokens: CountTokens) -> tuple[int, int]:
    total = count_tokens(window)
    for end in range(1, len(window)):
        count = count_tokens(window[:end])
        if count and count + count_tokens(window[end:]) == total:
            return end, count
    return len(window), total
