"""The torch engine on a GPU: replayed steps equal computed ones, and those equal transformers' results."""

import dataclasses
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import structlog
import torch
from transformers import AutoModelForCausalLM

from server.engine.base import EngineOptions
from server.engine.scheduler.step import RowSlice
from server.engine.torch.cache import KvCache
from server.engine.torch.codegen import ParallelDecoder
from server.engine.torch.decoder import cache_shape, open_decoder
from server.engine.torch.graphs import StepGraphs
from server.engine.torch.linear import WeightFormat
from server.engine.torch.runner import TorchRunner, load_model
from server.engine.torch.weights import best_format, read_files, this_machine
from tests.server.engine.torch.torch_models import CONFIGS, VOCABULARY, codegen, save_random, tiny_folder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU"),
]

OPTIONS = EngineOptions(dtype="float32", max_streams=4)


def random_tokens(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, VOCABULARY, count).tolist()


@pytest.mark.parametrize("family", CONFIGS)
def test_greedy_equals_transformers(family: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, family)
    runner = load_model(folder, OPTIONS).runner
    prompt = random_tokens(60)
    model = AutoModelForCausalLM.from_pretrained(folder.path, dtype=torch.float32).cuda()
    ids = torch.tensor([prompt], device="cuda")
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False, eos_token_id=None,
        pad_token_id=0,
    )  # fmt: skip
    with structlog.testing.capture_logs() as logs:
        found = [int(runner.step([RowSlice(0, 0, prompt, 1)])[0].argmax())]
        while len(found) < 24:
            row_slice = RowSlice(0, len(prompt) + len(found) - 1, found[-1:], 1)
            found.append(int(runner.step([row_slice])[0].argmax()))
    assert found == out[0, len(prompt) :].tolist()
    assert logs == [], "its steps were not replayed"


@pytest.mark.parametrize("family", CONFIGS)
def test_replayed_steps_equal_computed_ones(family: str, tmp_path: Path) -> None:
    """Steps of all sizes, twice each, with other rows and starts: a replay must use nothing of the
    capture."""
    weight_format = WeightFormat(torch.device("cuda"), torch.float32)
    files = read_files(tiny_folder(tmp_path, family))
    decoder = open_decoder(files, weight_format)
    caches = [KvCache(cache_shape(files.config), 6, weight_format) for _ in range(2)]
    computed = TorchRunner(decoder, caches[0], VOCABULARY)
    replayed = TorchRunner(decoder, caches[1], VOCABULARY, StepGraphs(decoder, caches[1]))
    draw = np.random.default_rng(0)
    for slot in range(6):
        for runner in (computed, replayed):
            runner.step([RowSlice(slot, 0, random_tokens(200, slot), 0)])
    with structlog.testing.capture_logs() as logs:
        for batch, tokens in [(1, 1), (3, 1), (6, 1), (1, 4), (5, 3), (2, 9), (1, 16)] * 2:
            row_slices = [
                RowSlice(int(slot), int(draw.integers(0, 240)), random_tokens(tokens, int(slot)), tokens)
                for slot in draw.permutation(6)[:batch]
            ]
            np.testing.assert_allclose(
                replayed.step(row_slices), computed.step(row_slices), rtol=1e-3, atol=1e-3
            )
    assert logs == []


def test_a_prompt_of_a_new_length_takes_no_longer(tmp_path: Path) -> None:
    """cuDNN's attention, torch's first choice on some GPUs, builds a plan for each length in 0.1 s."""
    runner = load_model(tiny_folder(tmp_path, "codegen"), dataclasses.replace(OPTIONS, dtype="auto")).runner

    def seconds(length: int) -> float:
        began = time.perf_counter()
        runner.step([RowSlice(0, 0, random_tokens(length), 1)])
        return time.perf_counter() - began

    seconds(100)
    known = statistics.median(seconds(100) for _ in range(10))
    assert statistics.median(seconds(length) for length in range(101, 121)) < 5 * known


def test_scores_beyond_float16_are_finite(tmp_path: Path) -> None:
    folder = save_random(tmp_path, codegen(n_layer=1))
    model = AutoModelForCausalLM.from_pretrained(folder.path, dtype=torch.float32)
    with torch.no_grad():
        model.transformer.h[0].attn.qkv_proj.weight *= 40
    model.save_pretrained(folder.path)
    runner = load_model(folder, dataclasses.replace(OPTIONS, dtype="float16")).runner
    prompt = random_tokens(60)
    assert np.isfinite(runner.step([RowSlice(0, 0, prompt[:40], 40)])).all()
    assert np.isfinite(runner.step([RowSlice(0, 40, prompt[40:], 20)])).all()
    assert np.isfinite(runner.step([RowSlice(0, 60, [1], 1)])).all()


def test_int8_weights_take_half_the_memory() -> None:
    taken: list[int] = []
    for int8 in (False, True):
        weight_format = dataclasses.replace(best_format("auto", this_machine()), int8=int8)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(codegen(n_embd=1024, n_layer=4)).to(weight_format.dtype)
        before = torch.cuda.memory_allocated()
        decoder = ParallelDecoder(model.config, dict(model.named_parameters()), weight_format)
        taken.append(torch.cuda.memory_allocated() - before)
        del decoder
    assert taken[1] < 0.55 * taken[0]
