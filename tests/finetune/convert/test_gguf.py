"""Llama's and Qwen's families as GGUF, read back by transformers, llama.cpp and OpenVINO."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader, GGUFWriter, TokenType
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

import finetune.convert.gguf.writer as gguf_form
from acepilot.errors import ConfigError
from acepilot.models.manifest import read_manifest, verified_hashes
from acepilot.models.registry import models_dir
from acepilot.models.resolve import resolve
from finetune.convert.check import PROBE_TEXT, CheckFailed, check_tokenizer, cut_by
from finetune.convert.forms import convert_model
from finetune.convert.gguf.tokenizer import add_tokenizer
from finetune.convert.source import open_source
from finetune.modeling.tiny import byte_tokenizer, make_tiny_model
from tests.finetune.convert.peer_servers import program, serving
from tests.finetune.convert.tiny_models import SENTINELS, VOCABULARY, a_model, trained_tokenizer


def fields(folder: Path) -> dict[str, Any]:
    return {name: field.contents() for name, field in GGUFReader(folder / "model.gguf").fields.items()}


@pytest.mark.parametrize(
    ("family", "cut"),
    [
        ("llama", "smollm"),
        ("llama-biased", "gpt-2"),
        ("llama3", "llama-bpe"),
        ("mistral", "tekken"),
        ("qwen2", "qwen2"),
        ("qwen3", "deepseek-coder"),
    ],
)
def test_f16_is_the_source_but_for_rounding(family: str, cut: str, tmp_path: Path) -> None:
    source = a_model(tmp_path / "source", family, cut)
    done = convert_model(resolve(str(source)), "gguf", tmp_path / "gguf", gguf_type="F16")
    assert done.figures.shift < 1e-3
    assert 0 < done.figures.noise < 0.003
    keys = fields(tmp_path / "gguf")
    architecture = "qwen" if family.startswith("qwen") else "llama"
    assert keys["general.architecture"].startswith(architecture)
    assert keys["tokenizer.ggml.pre"] == cut
    ids = [keys[f"tokenizer.ggml.fim_{part}_token_id"] for part in ("pre", "suf", "mid", "sep")]
    assert [keys["tokenizer.ggml.tokens"][index] for index in ids] == SENTINELS
    kinds = keys["tokenizer.ggml.token_type"]
    assert [kinds[index] for index in ids] == [TokenType.CONTROL] * 4
    assert (len(kinds), kinds[-1]) == (VOCABULARY, TokenType.UNUSED)
    assert keys["tokenizer.ggml.eos_token_id"] == 0


def test_sentinels_without_a_separator_of_files(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(SENTINELS[:3])
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    add_tokenizer(writer, tokenizer, VOCABULARY)
    told = {key for key in writer.kv_data[0] if ".fim_" in key}
    assert told == {f"tokenizer.ggml.fim_{part}_token_id" for part in ("pre", "suf", "mid")}


def test_q8_0_is_close_and_half_the_size(tmp_path: Path) -> None:
    source = a_model(tmp_path / "source", "llama")
    sizes: list[int] = []
    for kind in ("F16", "Q8_0"):
        done = convert_model(resolve(str(source)), "gguf", tmp_path / kind, gguf_type=kind)
        assert done.figures.shift < 0.01
        assert (done.manifest.format, done.manifest.dtype) == ("gguf", kind)
        sizes.append(
            sum(int(tensor.n_bytes) for tensor in GGUFReader(tmp_path / kind / "model.gguf").tensors)
        )
        verified_hashes(tmp_path / kind)
    assert 0.5 < sizes[1] / sizes[0] < 0.56


def test_weights_in_wrong_places_are_told_by_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = a_model(tmp_path / "source", "llama")
    monkeypatch.setattr(gguf_form, "interleaved", lambda weight, heads: weight)
    with pytest.raises(CheckFailed, match="says something else"):
        convert_model(resolve(str(source)), "gguf", tmp_path / "gguf", gguf_type="Q8_0")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_where_memory_is_short_fewer_layers_are_compared_and_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = a_model(tmp_path / "source", "qwen2")
    monkeypatch.setattr(gguf_form, "READ_BACK_RATIO", 1e9)
    figures = convert_model(resolve(str(source)), "gguf", tmp_path / "gguf", gguf_type="F16").figures
    assert figures.layers == 1
    assert "first 1 layers only" in figures.told()


def test_unknown_families_and_tokenizers_are_refused(tmp_path: Path) -> None:
    refused = {
        "codegen": (make_tiny_model(tmp_path / "codegen"), "it is a codegen; known are llama"),
        "cut": (a_model(tmp_path / "cut", "llama"), "no name in a GGUF; known are gpt-2"),
        "rope": (a_model(tmp_path / "rope", "llama"), "scaled by `linear`"),
    }
    odd = trained_tokenizer("qwen2")
    odd.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    odd.save_pretrained(tmp_path / "cut")
    config = json.loads((tmp_path / "rope" / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    (tmp_path / "rope" / "config.json").write_text(json.dumps(config))
    for source, told in refused.values():
        with pytest.raises(ConfigError, match=told):
            convert_model(resolve(str(source)), "gguf", tmp_path / "gguf")
    assert not [path for path in tmp_path.iterdir() if "gguf" in path.name]


def test_a_gguf_is_a_source_too(tmp_path: Path) -> None:
    """Its tokenizer cuts as the file says, which transformers alone forgets (digits, here)."""
    source = a_model(tmp_path / "source", "llama", "smollm")
    convert_model(resolve(str(source)), "gguf", tmp_path / "first", gguf_type="F16")
    read = open_source(resolve(str(tmp_path / "first" / "model.gguf")))
    check_tokenizer(AutoTokenizer.from_pretrained(source), cut_by(read.tokenizer))
    again = convert_model(resolve(str(tmp_path / "first")), "gguf", tmp_path / "second", gguf_type="F16")
    assert again.figures.noise == 0
    assert read_manifest(tmp_path / "second").id == "source-gguf-gguf"
    first, second = fields(tmp_path / "first"), fields(tmp_path / "second")
    same = [name for name in first if name.startswith(("tokenizer", "llama"))]
    same.remove("tokenizer.ggml.token_type")  # transformers does not tell which tokens are spare
    assert {name: first[name] for name in same} == {name: second[name] for name in same}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_tuned_weights_of_the_starter_are_read_back(tmp_path: Path) -> None:
    """A published vocabulary and merges, and weights that are no one else's."""
    source = models_dir() / "starter-tiny" / "model.gguf"
    opened = open_source(resolve(str(source)))
    model: Any = AutoModelForCausalLM.from_config(opened.config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(opened.weights[name] + 0.01 * torch.randn_like(weight))
    model.save_pretrained(tmp_path / "tuned")
    opened.tokenizer.save_pretrained(tmp_path / "tuned")
    done = convert_model(resolve(str(tmp_path / "tuned")), "gguf", tmp_path / "gguf", gguf_type="F16")
    assert done.figures.noise < 0.01
    read: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "gguf", gguf_file="model.gguf")
    for name, weight in read.named_parameters():
        torch.testing.assert_close(weight, model.state_dict()[name], atol=1e-3, rtol=1e-3)
    published, written = GGUFReader(source).fields, fields(tmp_path / "gguf")
    for key in ("tokens", "merges", "pre", "token_type", "eos_token_id", "bos_token_id", "add_bos_token"):
        name = f"tokenizer.ggml.{key}"
        assert written[name] == published[name].contents(), key


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "cut"),
    [
        ("llama", "smollm"),
        ("llama-biased", "gpt-2"),
        ("llama3", "llama-bpe"),
        ("mistral", "tekken"),
        ("qwen2", "qwen2"),
        ("qwen3", "deepseek-coder"),
    ],
)
def test_llama_cpp_reads_the_same_tokens_and_says_the_same(family: str, cut: str, tmp_path: Path) -> None:
    llama_server = program("ACEPILOT_TEST_LLAMA_SERVER")
    source = a_model(tmp_path / "source", family, cut)
    convert_model(resolve(str(source)), "gguf", tmp_path / "gguf", gguf_type="F16")
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    ids = tokenizer(PROBE_TEXT).input_ids[:60]
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
    command = [llama_server, "--model", str(tmp_path / "gguf" / "model.gguf"), "--port", "{port}"]
    with serving([*command, "-c", "256", "-t", "1", "--no-warmup"], tmp_path / "log") as client:
        text = unicodedata.normalize("NFC", PROBE_TEXT) + "".join(SENTINELS)
        asked = {"content": text, "add_special": False, "parse_special": True}
        assert client.post("/tokenize", json=asked).json()["tokens"] == tokenizer(text).input_ids
        request = {"prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": 10}
        answer = client.post("/completion", json=request).json()
    said = answer["completion_probabilities"][0]["top_logprobs"]
    assert said[0]["logprob"] == pytest.approx(float(expected.max()), abs=0.01)
    for each in said:
        assert each["logprob"] == pytest.approx(float(expected[each["id"]]), abs=0.01)
