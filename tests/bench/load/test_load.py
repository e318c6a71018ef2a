"""The client that puts load on a server."""

import asyncio
import json

import httpx

from bench.load.load import Load
from bench.peers.servers import Contestant
from tests.event_stream import SEPARATORS, cut_answers


def test_tokens_are_counted_however_the_answer_is_cut() -> None:
    chunks = [{"choices": [{"text": f"é{SEPARATORS}"}]}, {"choices": [], "usage": {"completion_tokens": 7}}]
    first, last = (json.dumps(chunk, ensure_ascii=False) for chunk in chunks)
    raw = f": hello\n\ndata: {first}\n\ndata: {last}\n\ndata: [DONE]\n\n".encode()

    async def tokens(response: httpx.Response) -> int:
        transport = httpx.MockTransport(lambda request: response)
        async with httpx.AsyncClient(transport=transport, base_url="http://peer") as http:
            return (await Load(http, Contestant("peer", "", "", ()), "m").ask("x", 8)).tokens

    assert {asyncio.run(tokens(response)) for response in cut_answers(raw)} == {7}
