"""The peer that most teams write first: transformers' `generate` behind FastAPI, one request at a time.

    python bench/peers/naive_server.py --model FOLDER --port 8030

It uses bf16, one thread for the model, no streaming, and no cache between requests. In its favour, it skips a
waiting request whose client has gone. A running request is finished, since `generate` cannot be stopped.
"""

# torch and transformers are only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import argparse
import asyncio
import sys
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from pydantic import BaseModel
from transformers import AutoModelForCausalLM, AutoTokenizer


class Body(BaseModel):
    prompt: str
    max_tokens: int = 64
    stop: list[str] = []


class Completer:
    """Complete greedily with one model."""

    def __init__(self, folder: str) -> None:
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, trust_remote_code=False
        )
        special = [id for id, token in self._tokenizer.added_tokens_decoder.items() if token.special]
        self._ends = sorted({*special, self._tokenizer.eos_token_id})
        self.registry = CollectorRegistry()
        self._prompt = Counter("naive_prompt_tokens", "Prompt tokens computed", registry=self.registry)
        self._new = Counter("naive_generated_tokens", "Tokens generated", registry=self.registry)

    def complete(self, body: Body) -> dict[str, Any]:
        """Return an OpenAI-style response."""
        inputs = self._tokenizer(body.prompt, return_tensors="pt", add_special_tokens=False)
        read = inputs["input_ids"].shape[1]
        self._prompt.inc(read)
        with torch.inference_mode():
            output = self._model.generate(
                **inputs,
                max_new_tokens=body.max_tokens,
                do_sample=False,
                eos_token_id=self._ends,
                pad_token_id=self._tokenizer.eos_token_id,
                stop_strings=body.stop or None,
                tokenizer=self._tokenizer,
            )
        new = output[0][read:]
        self._new.inc(len(new))
        text = self._tokenizer.decode(new, skip_special_tokens=True)
        for stop in body.stop:
            text = text.partition(stop)[0]
        usage = {"prompt_tokens": read, "completion_tokens": len(new), "total_tokens": read + len(new)}
        return {"object": "text_completion", "choices": [{"index": 0, "text": text}], "usage": usage}


def create_app(completer: Completer) -> FastAPI:
    app = FastAPI()
    one_at_a_time = asyncio.Lock()

    @app.post("/v1/completions")
    async def completions(body: Body, request: Request) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        async with one_at_a_time:
            if await request.is_disconnected():
                return {}
            return await asyncio.to_thread(completer.complete, body)

    @app.get("/metrics")
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(generate_latest(completer.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a folder that transformers opens")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvicorn.run(
        create_app(Completer(options.model)), host="127.0.0.1", port=options.port, log_level="warning"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
