"""The engine on CUDA, and on CPU for models that OpenVINO has no reader for.

torch and transformers are imported in the worker's process only: this end encodes with `tokenizers`.
"""

# tokenizers and transformers are typed in part
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import os
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from acepilot.errors import ConfigError
from acepilot.fim import is_sentinel
from acepilot.models.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.local import AboutModel, Encode, LocalEngine, WorkerOptions
from server.engine.scheduler.messages import WorkerProgram
from server.engine.scheduler.schedule import StepLimits
from server.engine.scheduler.worker import ServedModel, serve

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LIBRARIES = ("torch", "transformers", "tokenizers")

CPU_STEP_TOKENS = 256
CUDA_STEP_TOKENS = 512
"""Tokens a step: a long prompt is read in pieces, between which others get their tokens, and a cancelled
request goes."""

CPU_DRAFTS = 16
CUDA_DRAFTS = 128
"""Drafted tokens a step, all sequences together: more than the device verifies for little more than one."""


def before_torch() -> None:
    """Variables that are read when torch gets its first memory, and when tqdm is imported."""
    # weights in huge pages: a step reads all of them, and a CodeGen-350M's took 13 % less time a token
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    os.environ["TQDM_DISABLE"] = "1"  # transformers has a bar that it cannot hide


def run(pipe: Connection, model: ModelFolder, options: WorkerOptions) -> None:
    """The worker's process."""
    before_torch()

    def open_model() -> ServedModel:
        from server.engine.torch.runner import open_runner
        from server.engine.torch.weights import best_device

        opened = open_runner(model, options.engine)
        tokenizer: Tokenizer = opened.tokenizer.backend_tokenizer
        specials = special_tokens(tokenizer)
        on_cuda = best_device().type == "cuda"
        return ServedModel(
            runner=opened.runner,
            decode=tokenizer.decode,
            ends=frozenset({*specials, opened.tokenizer.eos_token_id}),
            limits=StepLimits(
                tokens=CUDA_STEP_TOKENS if on_cuda else CPU_STEP_TOKENS,
                drafts=CUDA_DRAFTS if on_cuda else CPU_DRAFTS,
                streams=options.engine.max_streams,
            ),
            prompt_lookup=options.engine.prompt_lookup,
            about=AboutModel(tokenizer.to_str(), opened.runner.slot_tokens, frozenset(specials.values())),
        )

    serve(pipe, open_model, options.log_level)


PROGRAM = WorkerProgram(
    "torch", run, "folders as transformers saves them, and Llama- and Qwen-family GGUF files"
)


class TorchEngine(LocalEngine):
    """Raises ConfigError where torch is not installed."""

    def __init__(self, model: ModelFolder, options: EngineOptions) -> None:
        missing = [library for library in LIBRARIES if find_spec(library) is None]
        if missing:
            raise ConfigError(
                f"The torch engine needs {' and '.join(missing)}, which this environment lacks: "
                "pip install -e '.[torch]' in Acepilot's folder."
            )
        super().__init__("torch", PROGRAM, model, options, _encoder)


def special_tokens(tokenizer: "Tokenizer") -> dict[int, str]:
    """Sentinels and end marks, by id."""
    return {
        token_id: token.content
        for token_id, token in tokenizer.get_added_tokens_decoder().items()
        if token.special or is_sentinel(token.content)
    }


def _encoder(tokenizer_json: str) -> Encode:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()  # what a tokenizer was saved with is for training
    tokenizer.no_padding()

    def encode(text: str, *, begin: bool) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=begin).ids

    return encode
