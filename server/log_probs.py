"""OpenAI's `logprobs`, a step of service.py: values from the engine's `score`, texts from its token count.

An engine returns the probability of each token, but not where in the text the token ends. This module finds
the ends by counting: a text can be cut at a token's end without gaining a token.
"""

import asyncio

from acepilot.prompt import CountTokens
from acepilot.protocol import LogProbs
from server.engine.base import Engine

WINDOW_CHARS = 160
"""Longer than any token: text beyond it does not change where the next token ends."""

TURN_COUNTS = 8
"""Cuts that are tried before other requests have their turn: about half a millisecond."""


async def log_probs(engine: Engine, prompt: str, text: str, cache_salt: str) -> LogProbs:
    """Return those of `text` after `prompt`. Raises EngineFailed, also when the engine cannot score."""
    values = await engine.score(prompt, text, cache_salt=cache_salt) if text else []
    pieces = await _pieces(text, engine.count_tokens)
    if sum(count for _, count in pieces) != len(values):
        pieces = [(text, len(values))]  # the cuts are wrong: return the whole text, with its sum
    answer = LogProbs(tokens=[], token_logprobs=[], text_offset=[])
    offset = read = 0
    for piece, count in pieces:
        answer.tokens.append(piece)
        answer.token_logprobs.append(sum(values[read : read + count]))
        answer.text_offset.append(offset)
        offset, read = offset + len(piece), read + count
    return answer


async def _pieces(text: str, count_tokens: CountTokens) -> list[tuple[str, int]]:
    """Return each token's text and a token count: 1, or more when several tokens share a character."""
    pieces: list[tuple[str, int]] = []
    while text:
        end, count = await _first_end(text[:WINDOW_CHARS], count_tokens)
        pieces.append((text[:end], count))
        text = text[end:]
    return pieces


async def _first_end(window: str, count_tokens: CountTokens) -> tuple[int, int]:
    await asyncio.sleep(0)  # a long text takes a while, and other requests wait for this event loop
    total = count_tokens(window)
    for end in range(1, len(window)):
        count = count_tokens(window[:end])
        if count and count + count_tokens(window[end:]) == total:
            return end, count
        if end % TURN_COUNTS == 0:
            await asyncio.sleep(0)
    return len(window), total
