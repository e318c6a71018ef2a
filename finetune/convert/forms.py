"""Convert a model folder into another form, and check the result; __main__.py and export.py call this."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from acepilot.errors import ConfigError
from acepilot.models.manifest import Manifest
from acepilot.models.registry import ModelFolder
from finetune.convert.check import Comparison
from finetune.convert.folder import check_target, write_folder
from finetune.convert.source import open_source

if TYPE_CHECKING:
    from finetune.convert.gguf.tensors import GgufType
    from finetune.convert.openvino.weights import WeightBits

Form = Literal["gptj", "gguf", "openvino"]


@dataclass(frozen=True)
class Converted:
    """The manifest of the new folder, and how far its model is from the source."""

    manifest: Manifest
    comparison: Comparison


def convert_model(
    model: ModelFolder, form: Form, target: Path, gguf_type: "GgufType" = "Q8_0", bits: "WeightBits" = "int8"
) -> Converted:
    """Write `model` in another form to the folder `target`; on failure `target` stays as it was.

    Raises ConfigError when `model` cannot have this form, ModelBroken when it cannot be read, and CheckFailed
    when the converted model differs from `model`.
    """
    check_target(target, model.path)
    source = open_source(model)
    if source.tokenizer is None and form != "gptj":
        raise ConfigError(
            f"{model.path} has no tokenizer, which is part of a model in the form {form}: copy "
            "tokenizer.json and tokenizer_config.json of the model that it was made from into it.",
            field="model",
        )
    dtype = {"gptj": source.dtype, "gguf": gguf_type, "openvino": bits}[form]
    note = f"Written as {form} ({dtype}) from {source.manifest.id}."
    manifest = source.manifest.model_copy(
        update={
            "id": f"{source.manifest.id}-{form}",
            "format": "safetensors" if form == "gptj" else form,
            "dtype": dtype,
            "notes": f"{source.manifest.notes} {note}".strip(),
        }
    )

    def write(folder: Path) -> Comparison:
        """Write the form and check it. Only its libraries are imported: openvino may be missing."""
        match form:
            case "gptj":
                from finetune.convert.gptj import check_gptj, write_gptj

                write_gptj(source, folder)
                return check_gptj(source, folder)
            case "gguf":
                import psutil

                from finetune.convert.gguf.read_back import check_gguf
                from finetune.convert.gguf.writer import write_gguf

                write_gguf(source, folder, gguf_type)
                return check_gguf(source, folder, gguf_type, psutil.virtual_memory().available)
            case "openvino":
                from finetune.convert.openvino.read_back import check_openvino
                from finetune.convert.openvino.writer import write_openvino

                write_openvino(source, folder, bits)
                return check_openvino(source, folder, bits)

    return Converted(*write_folder(target, manifest, write))
