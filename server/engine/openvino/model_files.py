"""Prepares a model's files so that OpenVINO opens them fast: converts a GGUF once and keeps the result.

With the starter on two cores, opening the GGUF takes 11 s and opening the converted files 1.6 s. (With
OpenVINO's own cache of compiled models, CACHE_DIR, it takes 7.5 s.)
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import openvino_genai as genai
import structlog

from acepilot.disk import HOME_ADVICE, check_room
from acepilot.errors import ModelBroken
from acepilot.models.conversions import Source, make_once
from acepilot.models.gguf_rewrite import needs_rewriting, rewrite_as_q8_0
from acepilot.models.known_hashes import known_hashes
from acepilot.models.registry import ModelFolder
from acepilot.settings import home
from server.engine.openvino.runner import last_line

MODEL_FILE = "openvino_model.xml"

CONVERSION = 3
"""The version of the conversion. A new number makes every kept conversion invalid."""

FREE_FACTOR = 5
"""Free disk needed, in sizes of the GGUF: the conversion is as large, but 4 bits are first rewritten as 8."""

Opened = TypeVar("Opened")

_log = structlog.get_logger()


def open_prepared(model: ModelFolder, open_folder: Callable[[Path], Opened]) -> Opened:
    """Return what `open_folder` returns for the model's folder with openvino_model.xml and the tokenizer.

    A kept conversion that does not open is made again, once. Raises ModelBroken for a RuntimeError, which is
    OpenVINO's, and NotEnoughDisk.
    """
    gguf = None if _is_prepared(model) else _gguf(model)
    if gguf is None:
        try:
            return open_folder(model.path)
        except RuntimeError as error:
            raise ModelBroken(last_line(error)) from error
    for again in (False, True):
        folder, is_new = _converted(gguf, again=again)
        try:
            return open_folder(folder)
        except RuntimeError as error:
            if is_new:
                raise ModelBroken(
                    f"{folder}, which was just converted from {gguf}, does not open: {last_line(error)}"
                ) from error
    raise AssertionError("a conversion that is made again is new")


def prepared_folder(model: ModelFolder) -> Path:
    """Return a folder with openvino_model.xml and the tokenizer. Raises ModelBroken and NotEnoughDisk."""
    return model.path if _is_prepared(model) else _converted(_gguf(model))[0]


def _is_prepared(model: ModelFolder) -> bool:
    return (model.path / MODEL_FILE).is_file()


def _gguf(model: ModelFolder) -> Path:
    if model.gguf is None:
        raise ModelBroken("the folder has neither openvino_model.xml nor a .gguf file.")
    return model.gguf


def _converted(gguf: Path, *, again: bool = False) -> tuple[Path, bool]:
    """Return the folder of the kept conversion, and whether it was made now.

    Its name depends on the GGUF's content, not on its path: a home may be mounted somewhere else, read-only.
    """
    source = Source(gguf, known_hashes(gguf)[gguf.name])
    made_from = f"{source.sha256} openvino-genai {genai.__version__} form {CONVERSION}"
    folder = home() / "cache" / "openvino" / hashlib.sha256(made_from.encode()).hexdigest()[:16]

    def on_fault(why: str) -> None:
        _log.warning("openvino_converts_again", folder=folder.name, why=why)

    try:
        is_new = make_once(
            folder, made_from, partial(_convert, gguf), on_fault=on_fault, source=source, again=again
        )
    except RuntimeError as error:
        raise ModelBroken(f"OpenVINO cannot convert it: {last_line(error)}") from error
    return folder, is_new


def _convert(gguf: Path, staging: Path) -> None:
    """Let OpenVINO open the GGUF in an empty folder, where it saves the converted files."""
    check_room(staging, gguf.stat().st_size * FREE_FACTOR, f"OpenVINO's form of {gguf}", HOME_ADVICE)
    _log.info("openvino_converts_gguf", once=True, takes="about 10 s for half a billion parameters")
    source = staging / "model.gguf"
    if needs_rewriting(gguf):
        rewrite_as_q8_0(gguf, source, lambda _: None)
    else:
        source.symlink_to(gguf)
    save = {"enable_save_ov_model": True}
    genai.ContinuousBatchingPipeline(str(source), genai.SchedulerConfig(), "CPU", save, save)
    source.unlink()
