"""The embedded engine on CPU: a GGUF or OpenVINO folder, without torch in the environment."""

# openvino_genai is typed in part
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from multiprocessing.connection import Connection
from typing import Any

import openvino_genai as genai

from acepilot.errors import ModelBroken
from acepilot.fim import SENTINELS
from acepilot.models.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.local import AboutModel, Encode, LocalEngine, WorkerOptions
from server.engine.openvino.model_files import prepared_folder
from server.engine.openvino.runner import OpenVinoRunner, last_line
from server.engine.scheduler.messages import WorkerProgram
from server.engine.scheduler.schedule import StepLimits
from server.engine.scheduler.worker import ServedModel, serve

STEP_TOKENS = 256
"""Prompt tokens a step: a long prompt is read in pieces, between which others get their tokens, and a
cancelled request goes."""

STEP_DRAFTS = 16
"""Drafted tokens a step, all sequences together: 16 more cost 1.6 times what one does (two cores)."""

LONGEST_ENCODING = 8192
"""The converted tokenizer silently keeps the last tokens only (seen in 2026.4)."""


def run(pipe: Connection, model: ModelFolder, options: WorkerOptions) -> None:
    """The worker's process."""

    def open_model() -> ServedModel:
        try:
            folder = prepared_folder(model)
            tokenizer = genai.Tokenizer(str(folder))
            runner = OpenVinoRunner(folder, options.engine, most_row_tokens=LONGEST_ENCODING)
        except RuntimeError as error:
            raise ModelBroken(last_line(error)) from error
        specials = _special_tokens(tokenizer)
        return ServedModel(
            runner=runner,
            decode=tokenizer.decode,
            ends=frozenset(specials),
            limits=StepLimits(STEP_TOKENS, STEP_DRAFTS, options.engine.max_streams),
            prompt_lookup=options.engine.prompt_lookup,
            about=AboutModel(str(folder), runner.slot_tokens, frozenset(specials.values())),
        )

    serve(pipe, open_model, options.log_level)


PROGRAM = WorkerProgram("OpenVINO", run, "OpenVINO folders, and Llama- and Qwen-family GGUF files")


class OpenVinoEngine(LocalEngine):
    def __init__(self, model: ModelFolder, options: EngineOptions) -> None:
        super().__init__("openvino", PROGRAM, model, options, _encoder)


def _encoder(folder: str) -> Encode:
    tokenizer = genai.Tokenizer(folder)

    def encode(text: str, *, begin: bool) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=begin).input_ids.data[0].tolist()

    return encode


def _special_tokens(tokenizer: Any) -> dict[int, str]:
    """Sentinels and end marks, by id: tokens that decode to nothing when special tokens are skipped.

    Sentinels are taken as they are, too: who converted a published Qwen left them no special tokens.
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
