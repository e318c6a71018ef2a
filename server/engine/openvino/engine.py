"""The engine for CPUs: runs a GGUF file or an OpenVINO folder, and does not need torch to be installed."""

# openvino_genai is only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from pathlib import Path
from typing import Any

import openvino_genai as genai

from acepilot.fim import SENTINELS
from acepilot.models.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.local import Encode, LocalEngine
from server.engine.openvino.model_files import open_prepared
from server.engine.openvino.runner import OpenVinoRunner
from server.engine.scheduler.messages import Opened
from server.engine.scheduler.schedule import StepLimits
from server.engine.scheduler.worker import ServedModel, WorkerProgram

LIMITS = StepLimits(tokens=256, drafts=16)
"""A long prompt is read in several steps; between them other sequences get their tokens, and cancelled ones
leave. On two cores, a step with 16 drafts takes 1.6 times as long as a step with one token."""

LONGEST_ENCODING = 8192
"""Tokens. From a longer text the converted tokenizer silently keeps only the last ones (OpenVINO 2026.4)."""


def open_model(model: ModelFolder, options: EngineOptions) -> ServedModel:
    """Open a model, in the worker process."""

    def open_folder(folder: Path) -> ServedModel:
        tokenizer = genai.Tokenizer(str(folder))
        runner = OpenVinoRunner(folder, options, most_row_tokens=LONGEST_ENCODING)
        specials = special_tokens(tokenizer)
        return ServedModel(
            runner=runner,
            decode=tokenizer.decode,
            ends=frozenset(specials),
            limits=LIMITS,
            opened=Opened(str(folder), runner.slot_tokens, frozenset(specials.values())),
        )

    return open_prepared(model, open_folder)


PROGRAM = WorkerProgram("openvino", open_model, "OpenVINO folders, and Llama- and Qwen-family GGUF files")


class OpenVinoEngine(LocalEngine):
    def __init__(self, model: ModelFolder, options: EngineOptions) -> None:
        super().__init__(PROGRAM, model, options, _encoder)


def _encoder(folder: str) -> Encode:
    tokenizer = genai.Tokenizer(folder)

    def encode(text: str, *, begin: bool) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=begin).input_ids.data[0].tolist()

    return encode


def special_tokens(tokenizer: Any) -> dict[int, str]:
    """Return the sentinels and end marks by id: tokens that decode to nothing without special tokens.

    SENTINELS are always among them: some published Qwen conversions do not mark them as special.
    """
    special = {tokenizer.get_eos_token_id()}
    for token, index in tokenizer.get_vocab().items():
        text = token.decode("utf-8", "replace") if isinstance(token, bytes) else token
        is_tag = text.startswith("<") and text.endswith(">")
        if text in SENTINELS or (is_tag and tokenizer.decode([index]) == ""):
            special.add(index)
    return {index: tokenizer.decode([index], skip_special_tokens=False) for index in special}
