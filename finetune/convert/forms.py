"""A model on this disk in another form: what `python -m finetune.convert` and export.py call."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from acepilot.errors import ConfigError
from acepilot.models.manifest import Manifest, ModelFormat
from acepilot.models.registry import ModelFolder
from finetune.convert.check import Figures
from finetune.convert.folder import check_target, write_folder
from finetune.convert.source import open_source

if TYPE_CHECKING:
    from finetune.convert.gguf.writer import GgufType
    from finetune.convert.openvino.weights import WeightBits

Form = Literal["gptj", "gguf", "openvino"]

FORMATS: dict[Form, ModelFormat] = {"gptj": "safetensors", "gguf": "gguf", "openvino": "openvino"}


@dataclass(frozen=True)
class Converted:
    manifest: Manifest
    figures: Figures


def convert_model(
    model: ModelFolder,
    form: Form,
    target: Path,
    *,
    gguf_type: "GgufType" = "Q8_0",
    bits: "WeightBits" = "int8",
) -> Converted:
    """Writes the folder `target`, whole or not at all. Raises ConfigError when `model` cannot have this form,
    ModelBroken when it cannot be read, CheckFailed when what was written says something else."""
    check_target(target, model.path)
    source = open_source(model)
    if source.tokenizer is None and form != "gptj":
        raise ConfigError(
            f"{model.path} has no tokenizer, which is part of a model written as {form}: copy tokenizer.json "
            "and tokenizer_config.json of the model that it was made from into it.",
            field="model",
        )
    write: Callable[[Path], Figures]
    match form:  # each form's libraries are imported where they are needed: openvino may be missing
        case "gptj":
            from finetune.convert.gptj import write_gptj

            dtype = source.dtype
            write = lambda folder: write_gptj(source, folder)  # noqa: E731
        case "gguf":
            from finetune.convert.gguf.writer import write_gguf

            dtype = gguf_type
            write = lambda folder: write_gguf(source, folder, gguf_type)  # noqa: E731
        case "openvino":
            from finetune.convert.openvino.writer import write_openvino

            dtype = bits
            write = lambda folder: write_openvino(source, folder, bits)  # noqa: E731
    made = f"Written as {form} ({dtype}) from {source.manifest.id}."
    manifest = source.manifest.model_copy(
        update={
            "id": f"{source.manifest.id}-{form}",
            "format": FORMATS[form],
            "dtype": dtype,
            "notes": f"{source.manifest.notes} {made}".strip(),
        }
    )
    return Converted(*write_folder(target, manifest, write))
