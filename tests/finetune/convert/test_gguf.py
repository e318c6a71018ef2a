"""Models of the Llama and Qwen families as GGUF, read back by transformers and llama.cpp."""

import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader, GGUFWriter, TokenType
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from acepilot.errors import ConfigError
from acepilot.models.manifest import read_manifest, verified_hashes
from acepilot.models.registry import models_dir
from acepilot.models.resolve import resolve
from finetune.convert.check import CheckFailed, Comparison, check_same_tokens, encoder
from finetune.convert.folder import write_folder
from finetune.convert.forms import convert_model
from finetune.convert.gguf.read_back import check_gguf
from finetune.convert.gguf.tokenizer import add_tokenizer
from finetune.convert.gguf.writer import write_gguf
from finetune.convert.probe import PROBE_TEXT
from finetune.convert.source import open_source
from finetune.modeling.tiny import byte_tokenizer, make_tiny_model
from tests.finetune.convert.peer_servers import program, serving
from tests.finetune.convert.tiny_models import SENTINELS, VOCABULARY, a_model, trained_tokenizer


def fields(folder: Path) -> dict[str, Any]:
    return {name: field.contents() for name, field in GGUFReader(folder / "model.gguf").fields.items()}


@pytest.mark.parametrize(
    ("family", "pre_tokenizer"),
    [
        ("llama", "smollm"),
        ("llama-biased", "gpt-2"),
        ("llama3", "llama-bpe"),
        ("mistral", "tekken"),
        ("qwen2", "qwen2"),
        ("qwen3", "deepseek-coder"),
    ],
)
def test_f16_equals_the_source_up_to_rounding(family: str, pre_tokenizer: str, tmp_path: Path) -> None:
    source = a_model(tmp_path / "source", family, pre_tokenizer)
    done = convert_model(resolve(str(source)), "gguf", tmp_path / "gguf", gguf_type="F16")
    assert done.comparison.shift < 1e-3
    assert 0 < done.comparison.noise < 0.003
    keys = fields(tmp_path / "gguf")
    architecture = "qwen" if family.startswith("qwen") else "llama"
    assert keys["general.architecture"].startswith(architecture)
    assert keys["tokenizer.ggml.pre"] == pre_tokenizer
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
    written = {key for key in writer.kv_data[0] if ".fim_" in key}
    assert written == {f"tokenizer.ggml.fim_{part}_token_id" for part in ("pre", "suf", "mid")}


def test_q8_0_is_close_and_half_the_size(tmp_path: Path) -> None:
    source = a_model(tmp_path / "source", "llama")
    sizes: list[int] = []
    for kind in ("F16", "Q8_0"):
        done = convert_model(resolve(str(source)), "gguf", tmp_path / kind, gguf_type=kind)
        assert done.comparison.shift < 0.01
        assert (done.manifest.format, done.manifest.dtype) == ("gguf", kind)
        sizes.append(
            sum(int(tensor.n_bytes) for tensor in GGUFReader(tmp_path / kind / "model.gguf").tensors)
        )
        verified_hashes(tmp_path / kind)
    assert 0.5 < sizes[1] / sizes[0] < 0.56


def test_the_check_finds_rows_in_a_wrong_order(tmp_path: Path) -> None:
    """The file gets the rows in transformers' order, which is not the order of a GGUF."""
    source = open_source(resolve(str(a_model(tmp_path / "source", "llama"))))
    heads = {"q_proj.weight": 4, "k_proj.weight": 2}
    shuffled = {
        name: weight.unflatten(0, (heads[name[-13:]], -1, 2)).swapaxes(1, 2).flatten(0, 2)
        if name[-13:] in heads
        else weight
        for name, weight in source.weights.items()
    }

    def fill(folder: Path) -> Comparison:
        write_gguf(replace(source, weights=shuffled), folder, "Q8_0")
        return check_gguf(source, folder, "Q8_0", available_bytes=1e12)

    with pytest.raises(CheckFailed, match="differs from its source"):
        write_folder(tmp_path / "gguf", source.manifest, fill)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_with_little_memory_fewer_layers_are_compared_and_the_summary_says_so(tmp_path: Path) -> None:
    source = open_source(resolve(str(a_model(tmp_path / "source", "qwen2"))))
    write_gguf(source, tmp_path, "F16")
    comparison = check_gguf(source, tmp_path, "F16", available_bytes=1)
    assert comparison.layers == 1
    assert "first 1 layers only" in comparison.summary()


def test_unknown_families_and_tokenizers_are_refused(tmp_path: Path) -> None:
    refused = {
        "codegen": (make_tiny_model(tmp_path / "codegen"), "its family is codegen; supported are llama"),
        "cut": (a_model(tmp_path / "cut", "llama"), "without a name in GGUF; supported are gpt-2"),
        "rope": (a_model(tmp_path / "rope", "llama"), "scaled by `linear`"),
    }
    odd = trained_tokenizer("qwen2")
    odd.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    odd.save_pretrained(tmp_path / "cut")
    config = json.loads((tmp_path / "rope" / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    (tmp_path / "rope" / "config.json").write_text(json.dumps(config))
    for source, message in refused.values():
        with pytest.raises(ConfigError, match=message):
            convert_model(resolve(str(source)), "gguf", tmp_path / "gguf")
    assert not [path for path in tmp_path.iterdir() if "gguf" in path.name]


def test_a_gguf_is_a_source_too(tmp_path: Path) -> None:
    """The tokenizer has the pre-tokenizer that the file names, which transformers ignores."""
    source = a_model(tmp_path / "source", "llama", "smollm")
    convert_model(resolve(str(source)), "gguf", tmp_path / "first", gguf_type="F16")
    read = open_source(resolve(str(tmp_path / "first" / "model.gguf")))
    check_same_tokens(AutoTokenizer.from_pretrained(source), encoder(read.tokenizer))
    again = convert_model(resolve(str(tmp_path / "first")), "gguf", tmp_path / "second", gguf_type="F16")
    assert again.comparison.noise == 0
    assert read_manifest(tmp_path / "second").id == "source-gguf-gguf"
    first, second = fields(tmp_path / "first"), fields(tmp_path / "second")
    same = [name for name in first if name.startswith(("tokenizer", "llama"))]
    same.remove("tokenizer.ggml.token_type")  # transformers does not say which tokens are unused
    assert {name: first[name] for name in same} == {name: second[name] for name in same}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_tuned_weights_of_the_starter_are_read_back(tmp_path: Path) -> None:
    """A published vocabulary with new weights."""
    source = models_dir() / "starter-tiny" / "model.gguf"
    opened = open_source(resolve(str(source)))
    model: Any = AutoModelForCausalLM.from_config(opened.config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(opened.weights[name] + 0.01 * torch.randn_like(weight))
    model.save_pretrained(tmp_path / "tuned")
    opened.tokenizer.save_pretrained(tmp_path / "tuned")
    done = convert_model(resolve(str(tmp_path / "tuned")), "gguf", tmp_path / "gguf", gguf_type="F16")
    assert done.comparison.noise < 0.01
    read: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "gguf", gguf_file="model.gguf")
    for name, weight in read.named_parameters():
        torch.testing.assert_close(weight, model.state_dict()[name], atol=1e-3, rtol=1e-3)
    published, written = GGUFReader(source).fields, fields(tmp_path / "gguf")
    for key in ("tokens", "merges", "pre", "token_type", "eos_token_id", "bos_token_id", "add_bos_token"):
        name = f"tokenizer.ggml.{key}"
        assert written[name] == published[name].contents(), key


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "pre_tokenizer"),
    [
        ("llama", "smollm"),
        ("llama-biased", "gpt-2"),
        ("llama3", "llama-bpe"),
        ("mistral", "tekken"),
        ("qwen2", "qwen2"),
        ("qwen3", "deepseek-coder"),
    ],
)
def test_llama_cpp_computes_the_same(family: str, pre_tokenizer: str, tmp_path: Path) -> None:
    llama_server = program("ACEPILOT_TEST_LLAMA_SERVER")
    source = a_model(tmp_path / "source", family, pre_tokenizer)
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
    top = answer["completion_probabilities"][0]["top_logprobs"]
    assert top[0]["logprob"] == pytest.approx(float(expected.max()), abs=0.01)
    for each in top:
        assert each["logprob"] == pytest.approx(float(expected[each["id"]]), abs=0.01)
