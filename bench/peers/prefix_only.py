"""Run `python -m server` with its model's fill-in-the-middle hidden; for `bench suffix`.

    python bench/peers/prefix_only.py --model starter --port 8020

A model at hand thus stands in for one that cannot read the code after the cursor. The starter's tokens join a
word with the space before it, so a prompt that ends inside an indentation confuses it. CodeGen has tokens for
runs of spaces and is not confused. Therefore such a prompt ends before the indentation here, and the answer's
own indentation is removed.
"""

import contextlib
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, cast

from acepilot.models.registry import ModelFolder
from server.__main__ import read_settings, serve
from server.engine.base import Delta, Engine, EngineOptions, GenerationRequest
from server.engine.opening import EngineName, open_engine


class PrefixOnly:
    """An engine that hides fill-in-the-middle."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.info = replace(engine.info, fim=None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        above, newline, line = request.prompt.rpartition("\n")
        indentation = len(line) if newline and not line.strip(" ") else 0
        if indentation:
            request = replace(request, prompt=above + newline)
        async with contextlib.aclosing(self._engine.generate(request)) as deltas:
            async for delta in deltas:
                spaces = min(len(delta.text) - len(delta.text.lstrip(" ")), indentation)
                text = delta.text[spaces:]
                indentation = 0 if text else indentation - spaces
                yield replace(delta, text=text)


def open_prefix_only(model: ModelFolder, name: EngineName, options: EngineOptions) -> Engine:
    return cast(Engine, PrefixOnly(open_engine(model, name, options)))


if __name__ == "__main__":
    sys.exit(serve(read_settings(sys.argv[1:]), open_engine=open_prefix_only))
