"""A resolved model as a folder that transformers opens."""

from pathlib import Path

import pytest
from transformers import AutoConfig, AutoTokenizer

from acepilot.models.resolve import resolve
from finetune.convert.forms import convert_model
from finetune.transformers_folder import transformers_folder
from tests.finetune.convert.tiny_models import a_model


def test_a_gguf_is_converted_once_and_a_folder_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    source = resolve(str(a_model(tmp_path / "source", "llama")))
    assert transformers_folder(source) == source.path
    convert_model(source, "gguf", tmp_path / "converted", gguf_type="F16")
    gguf = resolve(str(tmp_path / "converted" / "model.gguf"))
    folder = transformers_folder(gguf)
    assert folder.parent == tmp_path / "home" / "cache" / "training"
    assert AutoConfig.from_pretrained(folder).model_type == "llama"
    assert AutoTokenizer.from_pretrained(folder).vocab_size > 0
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert transformers_folder(gguf) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
