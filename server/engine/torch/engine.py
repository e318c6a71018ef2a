"""Starts the torch engine. The server's process never imports torch; it encodes with `tokenizers`."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import os
from importlib.util import find_spec

from acepilot.errors import ConfigError
from acepilot.models.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.local import Encode, LocalEngine
from server.engine.scheduler.worker import ServedModel, WorkerProgram
from server.engine.tokenizer_limits import tokenizer_errors


def before_torch() -> None:
    """Set the variables that torch reads at its first allocation, and tqdm when it is imported."""
    # Huge pages for the weights, all of which a step reads: a token of CodeGen-350M takes 13 % less time.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    os.environ["TQDM_DISABLE"] = "1"  # transformers has a progress bar without a switch


def open_model(model: ModelFolder, options: EngineOptions) -> ServedModel:
    """Open a model, in the worker process."""
    before_torch()
    from server.engine.torch.runner import load_model

    return load_model(model, options)


PROGRAM = WorkerProgram(
    "torch", open_model, "folders as transformers saves them, and Llama- and Qwen-family GGUF files"
)


class TorchEngine(LocalEngine):
    """Raises ConfigError if torch is not installed."""

    def __init__(self, model: ModelFolder, options: EngineOptions) -> None:
        missing = [
            library for library in ("torch", "transformers", "tokenizers") if find_spec(library) is None
        ]
        if missing:
            raise ConfigError(
                f"The torch engine needs {' and '.join(missing)}, which this environment lacks: "
                "run pip install -e '.[torch]' in Acepilot's folder."
            )
        super().__init__(PROGRAM, model, options, _encoder)


def _encoder(tokenizer_json: str) -> Encode:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()  # the saved settings for truncation and padding are for training
    tokenizer.no_padding()

    def encode(text: str, *, begin: bool) -> list[int]:
        with tokenizer_errors():
            return tokenizer.encode(text, add_special_tokens=begin).ids

    return encode
