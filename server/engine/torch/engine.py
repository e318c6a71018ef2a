"""The engine for CUDA, and for models on a CPU that OpenVINO cannot read.

Only the worker process imports torch and transformers; the server's process encodes with `tokenizers`.
"""

# tokenizers and transformers are only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from acepilot.errors import ConfigError
from acepilot.fim import is_sentinel
from acepilot.models.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.local import Encode, LocalEngine
from server.engine.scheduler.messages import Opened, WorkerEnd, WorkerOptions, WorkerProgram
from server.engine.scheduler.schedule import StepLimits
from server.engine.scheduler.worker import ServedModel, serve

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LIBRARIES = ("torch", "transformers", "tokenizers")

CPU_STEP_TOKENS = 256
CUDA_STEP_TOKENS = 512
"""Most prompt tokens in a step. A long prompt is read in several steps; between them other sequences get
their tokens, and cancelled ones leave."""

CPU_DRAFTS = 16
CUDA_DRAFTS = 128
"""Most drafted tokens in a step, for all sequences together. Up to here a step takes little longer than with
one token."""


def before_torch() -> None:
    """Set the variables that torch reads at its first allocation, and tqdm when it is imported."""
    # Huge pages for the weights, all of which a step reads: a token of CodeGen-350M takes 13 % less time.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    os.environ["TQDM_DISABLE"] = "1"  # transformers has a progress bar without a switch


def run(pipe: WorkerEnd, model: ModelFolder, options: WorkerOptions) -> None:
    """Run the worker process."""
    before_torch()

    def open_model() -> ServedModel:
        from server.engine.torch.runner import open_runner

        opened = open_runner(model, options.engine)
        tokenizer: Tokenizer = opened.tokenizer.backend_tokenizer
        specials = special_tokens(tokenizer)
        on_cuda = opened.device.type == "cuda"
        return ServedModel(
            runner=opened.runner,
            decode=tokenizer.decode,
            ends=frozenset({*specials, opened.tokenizer.eos_token_id}),
            limits=StepLimits(
                tokens=CUDA_STEP_TOKENS if on_cuda else CPU_STEP_TOKENS,
                drafts=CUDA_DRAFTS if on_cuda else CPU_DRAFTS,
            ),
            opened=Opened(tokenizer.to_str(), opened.runner.slot_tokens, frozenset(specials.values())),
        )

    serve(pipe, open_model, options)


PROGRAM = WorkerProgram(
    "torch", run, "folders as transformers saves them, and Llama- and Qwen-family GGUF files"
)


class TorchEngine(LocalEngine):
    """Raises ConfigError if torch is not installed."""

    def __init__(self, model: ModelFolder, options: EngineOptions) -> None:
        missing = [library for library in LIBRARIES if find_spec(library) is None]
        if missing:
            raise ConfigError(
                f"The torch engine needs {' and '.join(missing)}, which this environment lacks: "
                "run pip install -e '.[torch]' in Acepilot's folder."
            )
        super().__init__("torch", PROGRAM, model, options, _encoder)


def special_tokens(tokenizer: "Tokenizer") -> dict[int, str]:
    """Return the sentinels and end marks, by id."""
    return {
        token_id: token.content
        for token_id, token in tokenizer.get_added_tokens_decoder().items()
        if token.special or is_sentinel(token.content)
    }


def _encoder(tokenizer_json: str) -> Encode:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()  # the saved settings for truncation and padding are for training
    tokenizer.no_padding()

    def encode(text: str, *, begin: bool) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=begin).ids

    return encode
