"""Prepares a model's files so that OpenVINO opens them fast: converts a GGUF once and keeps the result.

With the starter on two cores, opening the GGUF takes 11 s and opening the converted files 1.6 s. (With
OpenVINO's own cache of compiled models, CACHE_DIR, it takes 7.5 s.)
"""

import hashlib
import shutil
from pathlib import Path

import openvino_genai as genai
import structlog

from acepilot.disk import HOME_ADVICE, check_room, explain_full_disk
from acepilot.models.gguf_rewrite import needs_rewriting, rewrite_as_q8_0
from acepilot.models.registry import ModelFolder, exclusive
from acepilot.settings import home

MODEL_FILE = "openvino_model.xml"

CONVERSION = 2
"""The version of the conversion. A new number makes every kept conversion invalid."""

FREE_FACTOR = 5
"""Free disk needed, in sizes of the GGUF: the conversion is as large, but 4 bits are first rewritten as 8."""

_log = structlog.get_logger()


def prepared_folder(model: ModelFolder) -> Path:
    """Return a folder with openvino_model.xml and the tokenizer. Raises NotEnoughDisk and RuntimeError."""
    if model.path.is_dir() and (model.path / MODEL_FILE).is_file():
        return model.path
    gguf = model.gguf
    if gguf is None:
        raise RuntimeError("the folder has neither openvino_model.xml nor a .gguf file.")
    kept = home() / "cache" / "openvino" / _key(gguf)
    if (kept / MODEL_FILE).is_file():
        return kept
    with exclusive(f"openvino-{kept.name}"):
        if not (kept / MODEL_FILE).is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            needed_bytes = gguf.stat().st_size * FREE_FACTOR
            check_room(kept.parent, needed_bytes, f"OpenVINO's form of {gguf}", HOME_ADVICE)
            with explain_full_disk(kept.parent, HOME_ADVICE):
                _convert(gguf, kept)
    return kept


def _convert(gguf: Path, kept: Path) -> None:
    """Let OpenVINO open the GGUF in an empty folder, where it saves the converted files."""
    _log.info("openvino_converts_gguf", once=True, takes="about 10 s for half a billion parameters")
    staging = kept.with_name(f".converting.{kept.name}")
    shutil.rmtree(staging, ignore_errors=True)  # a crash may have left it
    staging.mkdir()
    try:
        source = staging / "model.gguf"
        if needs_rewriting(gguf):
            rewrite_as_q8_0(gguf, source, lambda _: None)
        else:
            source.symlink_to(gguf)
        save = {"enable_save_ov_model": True}
        genai.ContinuousBatchingPipeline(str(source), genai.SchedulerConfig(), "CPU", save, save)
        source.unlink()
        staging.rename(kept)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _key(gguf: Path) -> str:
    """Return a name that changes with the file, with OpenVINO's version and with `CONVERSION`."""
    stat = gguf.stat()
    identity = f"{gguf.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}\n{genai.__version__}\n{CONVERSION}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]
