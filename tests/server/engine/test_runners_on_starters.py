"""Both engines' runners on real weights: greedy text equals transformers', and few bits cost little
likelihood."""

import copy
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch

from acepilot.models.registry import ModelFolder
from acepilot.models.resolve import resolve
from server.engine.base import Dtype, EngineOptions
from server.engine.openvino.model_files import prepared_folder
from server.engine.openvino.runner import OpenVinoRunner
from server.engine.scheduler.step import RowSlice
from server.engine.torch.decoder import TransformersDecoder
from server.engine.torch.linear import WeightFormat
from server.engine.torch.runner import TorchRunner, make_runner
from server.engine.torch.weights import load_pretrained, read_files
from tests.needs import need_model
from tests.server.engine.runners import CODES, greedy, mean_log_likelihood

INT8_LOSS = 0.02
FLOAT32 = WeightFormat(torch.device("cpu"), torch.float32)


@dataclass(frozen=True)
class Starter:
    """A starter model. `exact` is the mean log-likelihood of `codes`, the token ids of CODES, in float32."""

    folder: ModelFolder
    model: Any
    tokenizer: Any

    @cached_property
    def codes(self) -> list[list[int]]:
        return [self.tokenizer(code)["input_ids"] for code in CODES.values()]

    @cached_property
    def exact(self) -> float:
        return mean_log_likelihood(self.runner(FLOAT32), self.codes, step_tokens=1000)

    def openvino(self, dtype: Dtype) -> OpenVinoRunner:
        options = EngineOptions(max_streams=1, threads=1, dtype=dtype)
        return OpenVinoRunner(prepared_folder(self.folder), options, most_row_tokens=1024)

    def runner(self, weight_format: WeightFormat) -> TorchRunner:
        model = copy.deepcopy(self.model).to(weight_format.dtype)
        decoder = TransformersDecoder(model, weight_format)
        return make_runner(decoder, model.config, weight_format, EngineOptions(max_streams=1))


@pytest.fixture(scope="module", params=["starter-tiny", pytest.param("starter", marks=pytest.mark.slow)])
def starter(request: pytest.FixtureRequest) -> Iterator[Starter]:
    """Use one thread: several threads wait for each other while other tests run."""
    need_model(request.param)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = resolve(request.param)
    files = read_files(folder)
    yield Starter(folder, load_pretrained(files, torch.float32), files.tokenizer)
    torch.set_num_threads(threads)


def test_greedy_equals_transformers(starter: Starter) -> None:
    prompt = starter.tokenizer(CODES["python"])["input_ids"]
    ids = torch.tensor([prompt])
    out = starter.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, min_new_tokens=24, do_sample=False,
        eos_token_id=None, pad_token_id=0, repetition_penalty=1.0,
    )  # fmt: skip
    wanted: list[int] = out[0, len(prompt) :].tolist()
    assert greedy(starter.runner(FLOAT32), prompt, 24) == wanted
    assert greedy(starter.openvino("float32"), prompt, 24) == wanted


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_int8_weights_keep_the_likelihood_of_code(starter: Starter, dtype: torch.dtype) -> None:
    rounded = dataclasses.replace(FLOAT32, dtype=dtype, int8=True)
    for step_tokens in (1000, 16):  # each uses the weights in its own way
        found = mean_log_likelihood(starter.runner(rounded), starter.codes, step_tokens)
        assert found == pytest.approx(starter.exact, rel=INT8_LOSS)


def test_bfloat16_keeps_the_likelihood_of_code(starter: Starter) -> None:
    half = starter.runner(dataclasses.replace(FLOAT32, dtype=torch.bfloat16))
    for step_tokens in (1000, 64, 16):
        found = mean_log_likelihood(half, starter.codes, step_tokens)
        assert found == pytest.approx(starter.exact, rel=INT8_LOSS / 2)


def test_openvino_s_own_precision_keeps_the_likelihood_of_code(starter: Starter) -> None:
    """The weights have 8 bits and the KV cache 16; products are in bfloat16 if the processor supports it."""
    runner = starter.openvino("auto")
    for step_tokens in (1000, 16):
        found = mean_log_likelihood(runner, starter.codes, step_tokens)
        assert found == pytest.approx(starter.exact, rel=INT8_LOSS)


def test_openvino_s_rows_hold_what_was_computed(starter: Starter) -> None:
    """A prompt has the same logits read in pieces, after a copied beginning, and beside another prompt."""
    runner = starter.openvino("float32")
    prompt, other = starter.codes[:2]
    middle = len(prompt) // 2
    alone = runner.step([RowSlice(0, 0, prompt, 1)])[0].copy()
    runner.step([RowSlice(1, 0, prompt[:middle], 0)])
    in_pieces = runner.step([RowSlice(1, middle, prompt[middle:], 1)])[0].copy()
    runner.copy_prefix(0, 2, middle)
    copied = runner.step([RowSlice(2, middle, prompt[middle:], 1)])[0].copy()
    beside = runner.step([RowSlice(3, 0, prompt, 1), RowSlice(4, 0, other, 1)])[0]
    for logits in (in_pieces, copied, beside):
        np.testing.assert_allclose(logits, alone, atol=2e-3)
