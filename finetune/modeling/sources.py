"""Where a base model comes from: a hub id, a folder, a starter's GGUF or `tiny`; loss_model.py loads it.

The starters are published as GGUF only. transformers reads that form, but will not save what it read: the
weights are moved once into a model built from the plain config, and kept as safetensors under ACEPILOT_HOME.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, CodeGenConfig

from acepilot.errors import ModelBroken, ModelNotFound
from acepilot.models.registry import exclusive, models_dir
from acepilot.models.starter import STARTERS
from acepilot.settings import home
from finetune.modeling.tiny import make_tiny_model

TINY = "tiny"

CODEGEN_SIZES = {
    "350M": {"n_embd": 1024, "n_layer": 20, "n_head": 16, "rotary_dim": 32},
    "2B": {"n_embd": 2560, "n_layer": 32, "n_head": 32, "rotary_dim": 64},
    "6B": {"n_embd": 4096, "n_layer": 33, "n_head": 16, "rotary_dim": 64},
    "16B": {"n_embd": 6144, "n_layer": 34, "n_head": 24, "rotary_dim": 64},
}
"""Shapes of Salesforce/codegen-*, from their config.json: --dry-run plans for them without the network."""


def prepare_source(model: str, revision: str | None) -> str:
    """A hub id or folder that transformers opens; converts a starter first. Raises ModelNotFound.

    A hub id that was fetched before, to be served, is that folder.
    """
    if model in STARTERS:
        return str(_once(model, _convert_starter))
    if model == TINY:
        return str(_once(model, lambda _, folder: make_tiny_model(folder)))
    registered = models_dir() / model.replace("/", "--")
    if revision is None and (registered / "config.json").is_file():
        return str(registered)
    try:
        AutoConfig.from_pretrained(model, revision=revision)
    except (OSError, ValueError) as error:
        raise ModelNotFound(
            f"transformers cannot open `{model}`: give a folder with config.json and safetensors, a hub id "
            f"that this machine can reach, or `starter`. It says: {str(error).splitlines()[0]}"
        ) from error
    return model


def model_config(model: str, revision: str | None) -> Any:
    """The model's transformers config, without its weights; CodeGen's published ones need no network."""
    owner, _, name = model.partition("/")
    if owner == "Salesforce" and name.startswith("codegen-") and name.split("-")[1] in CODEGEN_SIZES:
        return CodeGenConfig.from_dict({"vocab_size": 51200, **CODEGEN_SIZES[name.split("-")[1]]})
    return AutoConfig.from_pretrained(prepare_source(model, revision), revision=revision)


def _once(name: str, make: Any) -> Path:
    """`ACEPILOT_HOME/cache/training/<name>`, made by `make(name, folder)` if it is not there yet."""
    target = home() / "cache" / "training" / name
    with exclusive(f"training-{name}"):
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(mkdtemp(prefix=f".{name}.", dir=target.parent))
            try:
                make(name, staging)
                staging.chmod(0o755)
                staging.rename(target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return target


def starter_gguf(name: str) -> Path:
    path = models_dir() / name / "model.gguf"
    if not path.is_file():
        raise ModelNotFound(f"`{name}` is not on this disk yet: python -m acepilot.models fetch {name}")
    return path


def _convert_starter(name: str, folder: Path) -> None:
    gguf = starter_gguf(name)
    try:
        read: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelBroken(
            f"{gguf} cannot be read: run `python -m acepilot.models fetch` {name} again. {error}"
        ) from error
    config = read.config
    del config.quantization_config  # else transformers refuses to save
    with torch.device("meta"):
        plain: Any = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(read.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
