"""The engine for CPUs: runs a GGUF file or an OpenVINO folder, and does not need torch to be installed."""

# openvino_genai is only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import openvino_genai as genai

from acepilot.errors import ModelBroken
from acepilot.fim import SENTINELS
from acepilot.models.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.local import Encode, LocalEngine
from server.engine.openvino.model_files import prepared_folder
from server.engine.openvino.runner import OpenVinoRunner, last_line
from server.engine.scheduler.messages import Opened, WorkerEnd, WorkerOptions, WorkerProgram
from server.engine.scheduler.schedule import StepLimits
from server.engine.scheduler.worker import ServedModel, serve

STEP_TOKENS = 256
"""Most prompt tokens in a step. A long prompt is read in several steps; between them other sequences get
their tokens, and cancelled ones leave."""

STEP_DRAFTS = 16
"""Most drafted tokens in a step, for all sequences together. On two cores, a step with 16 drafts takes 1.6
times as long as a step with one token."""

LONGEST_ENCODING = 8192
"""Tokens. From a longer text the converted tokenizer silently keeps only the last ones (OpenVINO 2026.4)."""


def run(pipe: WorkerEnd, model: ModelFolder, options: WorkerOptions) -> None:
    """Run the worker process."""

    def open_model() -> ServedModel:
        try:
            folder = prepared_folder(model)
            tokenizer = genai.Tokenizer(str(folder))
            runner = OpenVinoRunner(folder, options.engine, most_row_tokens=LONGEST_ENCODING)
        except RuntimeError as error:
            raise ModelBroken(last_line(error)) from error
        specials = special_tokens(tokenizer)
        return ServedModel(
            runner=runner,
            decode=tokenizer.decode,
            ends=frozenset(specials),
            limits=StepLimits(STEP_TOKENS, STEP_DRAFTS),
            opened=Opened(str(folder), runner.slot_tokens, frozenset(specials.values())),
        )

    serve(pipe, open_model, options)


PROGRAM = WorkerProgram("OpenVINO", run, "OpenVINO folders, and Llama- and Qwen-family GGUF files")


class OpenVinoEngine(LocalEngine):
    def __init__(self, model: ModelFolder, options: EngineOptions) -> None:
        super().__init__("openvino", PROGRAM, model, options, _encoder)


def _encoder(folder: str) -> Encode:
    tokenizer = genai.Tokenizer(folder)

    def encode(text: str, *, begin: bool) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=begin).input_ids.data[0].tolist()

    return encode


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """Return the sentinels and end marks by id: tokens that decode to nothing without special tokens.

    SENTINELS are always among them: some published Qwen conversions do not mark them as special.
    """
    vocabulary = [(_as_text(text), index) for text, index in tokenizer.get_vocab().items()]
    special = {
        index
        for text, index in vocabulary
        if text in SENTINELS
        or (text.startswith("<") and text.endswith(">") and tokenizer.decode([index]) == "")
    }
    special.add(tokenizer.get_eos_token_id())
    return {index: tokenizer.decode([index], skip_special_tokens=False) for index in special}


def _as_text(token: str | bytes) -> str:
    return token.decode("utf-8", "replace") if isinstance(token, bytes) else token
