"""The torch engine's runner computes what transformers computes, however a prompt is cut and batched."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from acepilot.errors import ModelBroken
from acepilot.models.registry import ModelFolder
from server.engine.base import CPU_KV_CACHE_GB, EngineOptions
from server.engine.scheduler.step import RowSlice
from server.engine.torch.cache import CacheShape, affordable_slots
from server.engine.torch.linear import WeightFormat
from server.engine.torch.runner import TorchRunner, load_model
from server.engine.torch.weights import Machine, best_format
from tests.server.engine.torch.torch_models import (
    CONFIGS,
    CONTEXT_TOKENS,
    VOCABULARY,
    codegen,
    foreign_folder,
    save_random,
    tiny_folder,
)

OPTIONS = EngineOptions(dtype="float32", max_streams=3, threads=1)
ROUNDING = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny_folder(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def runner(folder: ModelFolder) -> TorchRunner:
    return load_model(folder, OPTIONS).runner


def random_tokens(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, VOCABULARY, count).tolist()


def generated(runner: TorchRunner, prompt: list[int], tokens: int) -> list[int]:
    """Return greedy tokens, computed one per step."""
    logits = runner.step([RowSlice(0, 0, prompt, 1)])
    found = [int(logits[0].argmax())]
    while len(found) < tokens:
        logits = runner.step([RowSlice(0, len(prompt) + len(found) - 1, found[-1:], 1)])
        found.append(int(logits[0].argmax()))
    return found


def generated_by_transformers(model: Any, prompt: list[int], tokens: int) -> list[int]:
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return out[0, len(prompt) :].tolist()


def all_logits(runner: TorchRunner, slot: int, token_ids: list[int], cuts: list[int]) -> NDArray[np.float32]:
    """Return the logits of every token, computed piece by piece."""
    bounds = zip([0, *cuts], [*cuts, len(token_ids)], strict=True)
    parts = [runner.step([RowSlice(slot, a, token_ids[a:b], b - a)]) for a, b in bounds]
    return np.concatenate(parts)


def test_greedy_equals_transformers(folder: ModelFolder, runner: TorchRunner) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder.path, dtype=torch.float32)
    prompt = random_tokens(60)
    assert generated(runner, prompt, 24) == generated_by_transformers(model, prompt, 24)


@pytest.mark.parametrize("cuts", [[1], [59], [20, 40], [1, 2, 3, 30], list(range(1, 60)), [17, 34, 51]])
def test_a_prompt_may_be_cut_anywhere(runner: TorchRunner, cuts: list[int]) -> None:
    token_ids = random_tokens(60)
    whole = all_logits(runner, 0, token_ids, [])
    np.testing.assert_allclose(all_logits(runner, 1, token_ids, cuts), whole, **ROUNDING)


def test_a_batch_computes_what_each_computes_alone(runner: TorchRunner) -> None:
    """One sequence reads a prompt, one verifies drafts, one gets its next token."""
    lengths, starts = (40, 7, 1), (12, 30, 33)
    texts = [random_tokens(60, seed) for seed in range(3)]
    alone = [all_logits(runner, 0, text, []) for text in texts]
    for slot, (text, start) in enumerate(zip(texts, starts, strict=True)):
        runner.step([RowSlice(slot, 0, text[:start], 0)])
    row_slices = [
        RowSlice(slot, start, text[start : start + length], min(length, 3))
        for slot, (text, start, length) in enumerate(zip(texts, starts, lengths, strict=True))
    ]
    expected = [
        logits[row_slice.end - row_slice.logits : row_slice.end]
        for logits, row_slice in zip(alone, row_slices, strict=True)
    ]
    np.testing.assert_allclose(runner.step(row_slices), np.concatenate(expected), **ROUNDING)


def test_a_step_may_need_no_logits(runner: TorchRunner) -> None:
    assert runner.step([RowSlice(0, 0, [1, 2, 3], 0)]).shape == (0, runner.vocabulary)


def test_a_copied_prefix_equals_a_computed_one(runner: TorchRunner) -> None:
    text = random_tokens(60)
    whole = all_logits(runner, 0, text, [])
    runner.step([RowSlice(2, 0, random_tokens(60, seed=9), 0)])  # what the target held before
    runner.copy_prefix(0, 2, 45)
    np.testing.assert_allclose(runner.step([RowSlice(2, 45, text[45:], 15)]), whole[45:], **ROUNDING)


def test_a_row_holds_the_whole_context(runner: TorchRunner) -> None:
    assert (runner.slots, runner.slot_tokens) == (6, CONTEXT_TOKENS)
    token_ids = random_tokens(CONTEXT_TOKENS)
    assert np.isfinite(all_logits(runner, 0, token_ids, [CONTEXT_TOKENS - 1])).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_scores_beyond_float16_are_finite(dtype: str, tmp_path: Path) -> None:
    """Queries and keys of several hundred fit float16; their products of 80,000 do not."""
    folder = save_random(tmp_path, codegen(n_layer=1))
    model = AutoModelForCausalLM.from_pretrained(folder.path, dtype=torch.float32)
    prompt = random_tokens(40)
    with torch.no_grad():
        model.transformer.h[0].attn.qkv_proj.weight *= 40
        expected = model(torch.tensor([prompt])).logits[0]
        hidden = model.transformer.h[0].ln_1(model.transformer.wte(torch.tensor(prompt)))
        queries = model.transformer.h[0].attn.qkv_proj(hidden)
    assert queries.abs().max() < torch.finfo(torch.float16).max
    assert queries.square().sum(-1).max() > torch.finfo(torch.float16).max
    model.save_pretrained(folder.path)
    runner = load_model(folder, dataclasses.replace(OPTIONS, dtype=dtype)).runner
    for cuts in ([], list(range(1, len(prompt)))):
        logits = all_logits(runner, 0, prompt, cuts)
        assert np.isfinite(logits).all()
        agreed = (logits.argmax(1) == expected.argmax(1).numpy()).mean()
        assert agreed > 0.8


@pytest.mark.parametrize(
    ("able", "dtype"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16), ({}, torch.float32)],
)
def test_the_dtype_follows_the_processor(able: dict[str, bool], dtype: torch.dtype) -> None:
    machine = Machine(None, able)
    assert best_format("auto", machine) == WeightFormat(torch.device("cpu"), dtype)
    assert best_format("int8", machine) == WeightFormat(torch.device("cpu"), dtype, int8=True)
    assert best_format("float16", machine).dtype == torch.float16


@pytest.mark.parametrize(("capability", "dtype"), [((7, 0), torch.float16), ((8, 0), torch.bfloat16)])
def test_the_dtype_follows_the_gpu(capability: tuple[int, int], dtype: torch.dtype) -> None:
    assert best_format("auto", Machine(capability, {})) == WeightFormat(torch.device("cuda"), dtype)


def damage(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def lose_a_layer(folder: Path) -> None:
    """Make a folder look as if somebody had put it together by hand."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if ".h.1." not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def lose_the_tokenizer(folder: Path) -> None:
    """Without its files, transformers makes a tokenizer without tokens, which would complete nothing."""
    for file in folder.glob("*token*"):
        file.unlink()


@pytest.mark.parametrize(
    "harm",
    [damage, lose_a_layer, lose_the_tokenizer, lambda folder: (folder / "config.json").unlink()],
)
def test_damaged_files_are_named(harm: Callable[[Path], None], tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, "codegen")
    harm(tmp_path)
    with pytest.raises(ModelBroken, match=str(tmp_path)):
        load_model(folder, OPTIONS)


def test_an_unknown_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelBroken, match="family mamba"):
        load_model(foreign_folder(tmp_path), OPTIONS)


WIDE = CacheShape(layers=32, heads=32, head_dim=128, context_tokens=2048)


def slots_for(free_gpu_bytes: int | None = None, **options: Any) -> int:
    return affordable_slots(WIDE, torch.float32, EngineOptions(**options), free_gpu_bytes)


@pytest.mark.parametrize(("gb", "streams", "slots"), [(2, 4, 1), (7, 4, 3), (64, 4, 8)])
def test_rows_fit_memory_and_streams(gb: int, streams: int, slots: int) -> None:
    """A row of WIDE takes 2 GB; there are at most two rows per stream."""
    assert slots_for(kv_cache_gb=gb, max_streams=streams) == slots


def test_memory_for_less_than_one_row_is_refused() -> None:
    with pytest.raises(ModelBroken, match=r"2\.0 GB.*kv_cache_gb=1.*set it to 2"):
        slots_for(kv_cache_gb=1)


@pytest.mark.parametrize(
    ("free_gb", "allowed_gb", "slots"), [(6.5, None, 2), (64, None, 8), (64, 6, 3), (6.5, 32, 2)]
)
def test_rows_fit_the_free_memory_of_the_gpu(free_gb: float, allowed_gb: int | None, slots: int) -> None:
    """1 GB of it is left for the intermediate results of a step. No setting is needed for this."""
    assert slots_for(int(free_gb * 2**30), kv_cache_gb=allowed_gb, max_streams=4) == slots


def test_a_cpus_memory_is_shared_with_others() -> None:
    assert slots_for(max_streams=4) == CPU_KV_CACHE_GB // 2


def test_a_full_gpu_is_refused() -> None:
    with pytest.raises(ModelBroken, match="dtype=int8"):
        slots_for(2 << 30, kv_cache_gb=4)
