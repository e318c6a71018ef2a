"""Models for OpenVINO: each family passes its check, and the engine computes what the check read."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import openvino
import openvino_genai
import pytest
import torch
from openvino_tokenizers import convert_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config

from acepilot.errors import ConfigError
from acepilot.fim import format_for
from acepilot.models.manifest import verified_hashes
from acepilot.models.registry import models_dir
from acepilot.models.resolve import resolve
from finetune.convert.check import CheckFailed, Comparison
from finetune.convert.folder import write_folder
from finetune.convert.forms import convert_model
from finetune.convert.openvino.read_back import check_openvino
from finetune.convert.openvino.weights import GROUP, WeightBits, quantized
from finetune.convert.openvino.writer import write_openvino
from finetune.convert.probe import PROBE_CODE, PROBE_TOKENS
from finetune.convert.source import open_source
from finetune.modeling.tiny import byte_tokenizer
from server.engine.base import EngineOptions, GenerationRequest
from server.engine.openvino.engine import OpenVinoEngine, special_tokens
from tests.finetune.convert.tiny_models import CONFIGS, SENTINELS, a_model, trained_tokenizer

USUAL = {"codegen", "llama", "qwen2"}


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=() if name in USUAL else pytest.mark.slow) for name in CONFIGS]
)
def test_every_family_in_8_bits(family: str, tmp_path: Path) -> None:
    pre_tokenizer = "smollm" if family in {"codegen", "llama"} else "qwen2"
    source = a_model(tmp_path / "source", family, pre_tokenizer, nfc=family == "qwen2")
    done = convert_model(resolve(str(source)), "openvino", tmp_path / "out")
    assert 0 < done.comparison.noise < 0.06
    assert done.comparison.shift < 0.003
    assert done.manifest.context_tokens == (300 if family == "mistral" else 512)
    assert (done.manifest.format, done.manifest.dtype) == ("openvino", "int8")
    verified_hashes(tmp_path / "out")


@pytest.mark.parametrize("family", ["codegen", "qwen2"])
def test_4_bits_are_smaller(family: str, tmp_path: Path) -> None:
    source = resolve(str(a_model(tmp_path / "source", family)))
    sizes: list[int] = []
    for bits in ("int8", "int4"):
        done = convert_model(source, "openvino", tmp_path / bits, bits=bits)
        assert done.manifest.dtype == bits
        sizes.append(done.manifest.files["openvino_model.bin"].size_bytes)
    assert sizes[1] < 0.75 * sizes[0]  # the tables, a large part of a tiny model, stay in 8 bits


@pytest.mark.parametrize("family", ["codegen", "qwen2"])
def test_the_engine_computes_what_the_check_read(family: str, tmp_path: Path) -> None:
    """Compare paged attention, positions and special tokens of the engine itself."""
    source = a_model(tmp_path / "source", family)
    comparison = convert_model(resolve(str(source)), "openvino", tmp_path / "out").comparison
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    ids = tokenizer(PROBE_CODE).input_ids[:PROBE_TOKENS]
    first, rest = tokenizer.decode(ids[:1]), tokenizer.decode(ids[1:])
    options = EngineOptions(threads=1, dtype="float32", max_streams=2)
    engine = OpenVinoEngine(resolve(str(tmp_path / "out")), options)
    try:
        assert engine.info.fim == format_for(SENTINELS)
        assert engine.info.special_tokens == {"<|endoftext|>", *SENTINELS}
        assert engine.info.context_tokens == 512
        scores = asyncio.run(engine.score(first, rest))
    finally:
        engine.close()
    assert len(scores) == comparison.tokens
    assert sum(scores) / len(scores) == pytest.approx(comparison.written, abs=1e-3)


def test_a_foreign_folder_whose_sentinels_are_not_special(tmp_path: Path) -> None:
    """Other tools convert a published Qwen like this."""
    for part, name in zip(
        convert_tokenizer(trained_tokenizer("qwen2"), with_detokenizer=True),
        ("openvino_tokenizer.xml", "openvino_detokenizer.xml"),
        strict=True,
    ):
        openvino.save_model(part, tmp_path / name)
    special = special_tokens(openvino_genai.Tokenizer(str(tmp_path)))
    assert set(special.values()) == {"<|endoftext|>", *SENTINELS}


def test_the_check_finds_weights_in_a_wrong_order(tmp_path: Path) -> None:
    """CodeGen stores query, value, key in each of 4 blocks: reading query, key, value must not pass."""
    source = open_source(resolve(str(a_model(tmp_path / "source", "codegen"))))
    swapped = {
        name: weight.unflatten(0, (4, 3, -1))[:, [0, 2, 1]].flatten(0, 2) if "qkv_proj" in name else weight
        for name, weight in source.weights.items()
    }

    def fill(folder: Path) -> Comparison:
        write_openvino(replace(source, weights=swapped), folder, "int8")
        return check_openvino(source, folder, "int8")

    with pytest.raises(CheckFailed, match="differs from its source"):
        write_folder(tmp_path / "out", source.manifest, fill)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_an_unknown_family_is_refused(tmp_path: Path) -> None:
    config = GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=320, n_positions=64)
    model: Any = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path / "gpt2")
    byte_tokenizer().save_pretrained(tmp_path / "gpt2")
    with pytest.raises(ConfigError, match=r"is a gpt2; for OpenVINO .*: codegen, gpt_bigcode"):
        convert_model(resolve(str(tmp_path / "gpt2")), "openvino", tmp_path / "out")


@pytest.mark.parametrize("most", [15, 255])
def test_quantisation_keeps_every_number_within_half_a_step(most: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(7, 5, GROUP) + torch.randn(7, 5, 1)
    weight[0], weight[1] = 0, 3.0  # all zeros; and no spread
    codes, scales, zeros = quantized(weight, most)
    assert int(codes.max()) <= most
    error = ((codes.float() - zeros.float()) * scales.float() - weight).abs()
    assert float(error[:2].max()) < 2e-3
    if most == 255:
        assert bool((error <= 0.5 * scales.float() + 1e-3).all())
    else:  # outliers may be clipped where that lowers the error of all
        span = weight.amax(-1, keepdim=True).clamp(min=0) - weight.amin(-1, keepdim=True).clamp(max=0)
        plain = (weight / (span / most)).round() * (span / most) - weight
        assert float(error[2:].square().sum()) < float(plain[2:].square().sum())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_the_starter_generates_the_same_text(bits: WeightBits, tmp_path: Path) -> None:
    source = models_dir() / "starter"
    comparison = convert_model(resolve("starter"), "openvino", tmp_path / "out", bits=bits).comparison
    assert comparison.shift < {"int8": 0.02, "int4": 0.05}[bits]
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "qwen2"
    prompt = "def binary_search(values, wanted):\n    low, high = 0, len(values) - 1\n"
    model: Any = AutoModelForCausalLM.from_pretrained(source, gguf_file="model.gguf", dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(source, gguf_file="model.gguf")
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    before = tokenizer.decode(model.generate(ids, max_new_tokens=24, do_sample=False)[0, ids.shape[1] :])
    engine = OpenVinoEngine(resolve(str(tmp_path / "out")), EngineOptions(threads=2, dtype="float32"))

    async def written() -> str:
        return "".join([delta.text async for delta in engine.generate(GenerationRequest(prompt, 24))])

    try:
        assert engine.info.fim is not None
        assert asyncio.run(written()) == before
    finally:
        engine.close()
