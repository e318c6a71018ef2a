"""CodeGen as GPT-J: logits equal to the last bit in float32, for every shape."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, CodeGenConfig, CodeGenForCausalLM

import finetune.convert.__main__ as convert_program
from acepilot.models.manifest import Manifest, read_manifest, verified_hashes, write_manifest
from acepilot.models.resolve import resolve
from finetune.convert.check import CheckFailed, Comparison
from finetune.convert.folder import write_folder
from finetune.convert.forms import convert_model
from finetune.convert.gptj import check_gptj, write_gptj
from finetune.convert.source import open_source
from finetune.convert.streaming import streamed_logits
from finetune.modeling.tiny import byte_tokenizer, make_tiny_model
from tests.finetune.convert.peer_servers import program, serving

TEXT = "def add(first, second):\n    return first + second\n"


def a_codegen(folder: Path, heads: int, head_dim: int, rotary_dim: int) -> Path:
    torch.manual_seed(heads)
    config = CodeGenConfig(
        vocab_size=320, n_positions=300, n_ctx=300, n_embd=heads * head_dim, n_layer=3, n_head=heads,
        rotary_dim=rotary_dim, bos_token_id=256, eos_token_id=256, initializer_range=0.1,
    )  # fmt: skip
    CodeGenForCausalLM(config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def logits(folder: Path) -> torch.Tensor:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        return model(input_ids=torch.tensor([tokenizer(TEXT * 5).input_ids])).logits


def run_program(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["finetune.convert", *map(str, arguments)])
    return convert_program.main()


@pytest.mark.parametrize(
    ("heads", "head_dim", "rotary_dim"), [(4, 16, 8), (4, 24, 24), (8, 32, 16), (8, 32, 32), (16, 64, 64)]
)
def test_logits_are_equal_to_the_last_bit(heads: int, head_dim: int, rotary_dim: int, tmp_path: Path) -> None:
    source = a_codegen(tmp_path / "codegen", heads, head_dim, rotary_dim)
    done = convert_model(resolve(str(source)), "gptj", tmp_path / "gptj")
    assert torch.equal(logits(source), logits(tmp_path / "gptj"))
    assert done.comparison.noise == 0
    config = json.loads((tmp_path / "gptj" / "config.json").read_text())
    assert (config["model_type"], config["n_positions"], config["rotary_dim"]) == ("gptj", 300, rotary_dim)


def test_the_check_finds_blocks_in_a_wrong_order(tmp_path: Path) -> None:
    """CodeGen stores query, value, key in each of 4 blocks: reading query, key, value must not pass."""
    source = open_source(resolve(str(a_codegen(tmp_path / "codegen", 8, 32, 16))))
    swapped = {
        name: weight.unflatten(0, (4, 3, -1))[:, [0, 2, 1]].flatten(0, 2) if "qkv_proj" in name else weight
        for name, weight in source.weights.items()
    }

    def fill(folder: Path) -> Comparison:
        write_gptj(replace(source, weights=swapped), folder)
        return check_gptj(source, folder)

    with pytest.raises(CheckFailed, match="differs from its source"):
        write_folder(tmp_path / "gptj", source.manifest, fill)
    assert [path.name for path in tmp_path.iterdir()] == ["codegen"]


def test_a_model_that_computes_no_numbers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = a_codegen(tmp_path / "codegen", 8, 32, 16)
    model: Any = AutoModelForCausalLM.from_pretrained(source)
    with torch.no_grad():
        model.transformer.ln_f.bias[0] = torch.nan
    model.save_pretrained(source)
    assert run_program(monkeypatch, source, "--to", "gptj", "--out", tmp_path / "gptj") == 1
    assert "differs from its source" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["codegen"]


def test_half_precision_stays_and_shards_are_found(tmp_path: Path) -> None:
    source = tmp_path / "codegen"
    model: Any = AutoModelForCausalLM.from_pretrained(a_codegen(source, 8, 32, 16), dtype=torch.float16)
    model.save_pretrained(source)
    opened = open_source(resolve(str(source)))
    assert opened.dtype == "float16"
    write_folder(
        tmp_path / "gptj",
        opened.manifest,
        lambda folder: write_gptj(opened, folder, shard_bytes=300_000),
    )
    assert len(list((tmp_path / "gptj").glob("model-*-of-*.safetensors"))) > 5
    assert torch.equal(logits(source), logits(tmp_path / "gptj"))
    verified_hashes(tmp_path / "gptj")


def test_the_form_in_which_codegen_was_published_is_read(tmp_path: Path) -> None:
    source = a_codegen(tmp_path / "codegen", 4, 16, 8)
    before = logits(source)
    model: Any = AutoModelForCausalLM.from_pretrained(source)
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    state["transformer.h.0.attn.causal_mask"] = torch.ones(1, 1, 300, 300, dtype=torch.bool)
    (source / "model.safetensors").unlink()
    torch.save(state, source / "pytorch_model.bin")
    convert_model(resolve(str(source)), "gptj", tmp_path / "gptj")
    assert torch.equal(before, logits(tmp_path / "gptj"))


def test_a_streamed_model_computes_the_same_as_one_in_memory(tmp_path: Path) -> None:
    source = open_source(resolve(str(make_tiny_model(tmp_path / "tiny"))))
    ids = torch.arange(60)
    model: Any = AutoModelForCausalLM.from_pretrained(source.path).eval()
    with torch.inference_mode():
        whole = model(input_ids=ids[None]).logits[0]
    assert torch.equal(streamed_logits(source.config, source.weights, ids), whole)


def test_the_manifest_is_carried_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_tiny_model(tmp_path / "tiny")
    manifest = Manifest(
        id="ours", format="safetensors", files={}, base="Salesforce/codegen-2B-multi", licence="BSD-3-Clause",
        dtype="float32", context_tokens=256, data_hash="c" * 64,
    )  # fmt: skip
    write_manifest(manifest, source)
    assert run_program(monkeypatch, source, "--to", "gptj", "--out", tmp_path / "gptj") == 0
    assert "equal to the last bit" in capsys.readouterr().out
    written = read_manifest(tmp_path / "gptj")
    assert (written.id, written.format, written.dtype) == ("ours-gptj", "safetensors", "float32")
    assert (written.base, written.data_hash, written.context_tokens) == (manifest.base, "c" * 64, 256)
    assert written.notes == "Written as gptj (float32) from ours."
    verified_hashes(tmp_path / "gptj")
    assert "Salesforce/codegen-2B-multi" in (tmp_path / "gptj" / "README.md").read_text()


def test_weights_without_a_tokenizer_are_checked_with_plain_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_tiny_model(tmp_path / "tiny")
    for file in source.glob("*token*"):
        file.unlink()
    assert run_program(monkeypatch, source, "--to", "gptj", "--out", tmp_path / "gptj") == 0
    out = capsys.readouterr().out
    assert "255 tokens" in out
    assert "equal to the last bit" in out
    for form in ("gguf", "openvino"):
        assert run_program(monkeypatch, source, "--to", form, "--out", tmp_path / form) == 2
        assert "has no tokenizer" in capsys.readouterr().err


def test_wrong_targets_options_and_sources_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_tiny_model(tmp_path / "tiny")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "mine.txt").write_text("not yours")
    weights = ("--weights", "int8")
    for arguments, code, message in (
        ((source, "--to", "gptj", "--out", source), 2, "holds the source model itself"),
        ((source, "--to", "gptj", "--out", tmp_path), 2, "holds the source model itself"),
        ((source, "--to", "gptj", "--out", notes), 2, "is not a model folder"),
        ((source, "--to", "gptj", "--out", tmp_path / "out", *weights), 2, "--weights with --to openvino"),
        ((notes, "--to", "gptj", "--out", tmp_path / "out"), 1, "cannot be read"),
    ):
        assert run_program(monkeypatch, *arguments) == code
        assert message in capsys.readouterr().err
    assert (notes / "mine.txt").read_text() == "not yours"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "tiny"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_vllm_computes_from_the_gptj_what_transformers_computes_from_the_codegen(tmp_path: Path) -> None:
    vllm = program("ACEPILOT_TEST_VLLM")
    source = a_codegen(tmp_path / "codegen", 4, 64, 32)
    convert_model(resolve(str(source)), "gptj", tmp_path / "gptj")
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    ids = tokenizer(TEXT * 4).input_ids
    model: Any = AutoModelForCausalLM.from_pretrained(source).eval()
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    command = f"serve {tmp_path / 'gptj'} --served-model-name ours --host 127.0.0.1 --port {{port}}"
    sizes = "--dtype float32 --max-model-len 256 --enforce-eager --gpu-memory-utilization 0.1"
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    with serving([vllm, *command.split(), *sizes.split()], tmp_path / "log", **quiet) as client:
        request = {"model": "ours", "prompt": ids, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        answer = client.post("/v1/completions", json=request).json()["choices"][0]
    scored = zip(ids[1:], answer["prompt_logprobs"][1:], strict=True)
    assert [each[str(token)]["logprob"] for token, each in scored] == pytest.approx(
        [float(expected[at, token]) for at, token in enumerate(ids[1:])], abs=1e-3
    )
