"""Packed attention equals transformers' attention on each document alone, up to float32 rounding."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deepspeed
import pytest
import torch
from deepspeed import comm
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    CodeGenConfig,
    GPTBigCodeConfig,
    GPTJConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
    Starcoder2Config,
)

from finetune.modeling.loss_model import DTYPES, LossModel
from finetune.modeling.packed_attention import PACKED_FAMILIES, document_lengths, packed_attention
from finetune.training.config import TrainConfig
from finetune.training.launch import deepspeed_config, join_processes

GPT: dict[str, Any] = {
    "vocab_size": 320, "n_positions": 256, "n_embd": 64, "n_layer": 3, "n_head": 4,
    "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
LLAMA: dict[str, Any] = {
    "vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
CONFIGS = {
    "codegen": CodeGenConfig(**GPT, n_ctx=256, rotary_dim=8),
    "codegen_whole": CodeGenConfig(**GPT, n_ctx=256, rotary_dim=16),
    "gptj": GPTJConfig(**GPT, rotary_dim=8),
    "gpt_bigcode": GPTBigCodeConfig(**GPT),
    "gpt_bigcode_heads": GPTBigCodeConfig(**GPT, multi_query=False),
    "llama": LlamaConfig(**LLAMA),
    "mistral": MistralConfig(**LLAMA, sliding_window=None),
    "qwen2": Qwen2Config(**LLAMA),
    "qwen3": Qwen3Config(**LLAMA, head_dim=32),
    "starcoder2": Starcoder2Config(**LLAMA, sliding_window=None, residual_dropout=0.0, embedding_dropout=0.0),
}
SLIDING = {
    "mistral_sliding": MistralConfig(**LLAMA, sliding_window=24),
    "starcoder2_sliding": Starcoder2Config(**LLAMA, sliding_window=24),
}
LENGTHS = (30, 1, 65, 4)


def pair(name: str) -> tuple[Any, LossModel]:
    """Return two models with the same weights: with transformers' plain attention, and as in training."""
    torch.manual_seed(0)
    plain: Any = AutoModelForCausalLM.from_config({**CONFIGS, **SLIDING}[name], attn_implementation="eager")
    with torch.no_grad():
        for weight in plain.parameters():
            weight.mul_(3)  # larger weights make attention uneven
    return plain, LossModel(copy.deepcopy(plain))


def logits_of(packed: LossModel, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the logits [B, T, V] that training computes before the loss."""
    lengths = {"document_lengths": document_lengths(positions)} if packed.packs else {}
    return packed.causal(input_ids=ids, position_ids=positions, use_cache=False, **lengths).logits


def packed_row(rows: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    positions = torch.cat([torch.arange(length) for length in LENGTHS])
    return torch.randint(0, 320, (rows, len(positions))), positions.repeat(rows, 1)


def test_every_family_that_packs_is_tested() -> None:
    assert {config.model_type for config in CONFIGS.values()} == PACKED_FAMILIES


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_and_gradients_equal_those_of_transformers(name: str) -> None:
    plain, packed = pair(name)
    assert packed.packs
    ids, positions = packed_row()
    theirs = [
        plain(input_ids=row, position_ids=torch.arange(row.shape[1])[None], use_cache=False).logits
        for row in torch.split(ids, list(LENGTHS), dim=1)
    ]
    outputs = [torch.cat(theirs, dim=1), logits_of(packed, ids, positions)]
    scale = float(outputs[0].detach().abs().max())
    assert scale > 0.5
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5 * scale, rtol=0)
    gradients = [
        torch.autograd.grad(out.log_softmax(-1)[..., 7].sum(), list(model.parameters()))
        for out, model in zip(outputs, (plain, packed.causal), strict=True)
    ]
    for ours, theirs in zip(gradients[1], gradients[0], strict=True):
        # Some CPUs add in an order that differs by 1.1e-5 for the norms of qwen3.
        torch.testing.assert_close(ours, theirs, atol=2e-5 * float(theirs.abs().max()) + 1e-7, rtol=0)


@pytest.mark.parametrize("name", [*CONFIGS, *SLIDING])
def test_a_document_sees_no_other(name: str) -> None:
    """This also holds for families with a sliding window, which keep their own attention."""
    _, packed = pair(name)
    assert packed.packs == (name in CONFIGS)
    ids, positions = packed_row(rows=1)
    together = logits_of(packed, ids, positions)[0]
    start = 0
    for length in LENGTHS:
        alone = logits_of(packed, ids[:, start : start + length], torch.arange(length)[None])[0]
        torch.testing.assert_close(together[start : start + length], alone, atol=2e-5, rtol=1e-4)
        start += length


def test_a_row_cut_within_a_document_begins_a_document() -> None:
    assert document_lengths(torch.tensor([[5, 6, 0, 1, 2], [0, 1, 2, 3, 4]])) == [2, 3, 5]
    assert document_lengths(torch.tensor([[0, 1, 0], [0, 1, 0]])) == [2, 1, 2, 1]


def test_scores_beyond_float16_do_not_overflow() -> None:
    """The scores are 300 * 300 * 64 = 5.8 million; float16 ends at 65,504."""
    torch.manual_seed(0)
    query = torch.full((1, 2, 8, 64), 300.0, dtype=torch.float16)
    value = torch.randn(1, 2, 8, 64, dtype=torch.float16)
    out, _ = packed_attention(nn.Identity(), query, query, value, None, 1.0, document_lengths=[8])
    assert torch.isfinite(out).all()
    torch.testing.assert_close(out[0, -1].float(), value[0].float().mean(1), atol=2e-3, rtol=0)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Form a process group of this process alone."""
    place = {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
    }
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    join_processes(-1)
    yield
    comm.destroy_process_group()


@pytest.mark.usefixtures("alone")
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # raised by modules that DeepSpeed imports at its first start
@pytest.mark.parametrize("name", ["codegen", "qwen2"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_deepspeed_leaves_rotary_angles_in_float32(name: str, precision: str) -> None:
    """In half precision, positions beyond 1,000 would be inexact."""
    model = LossModel(AutoModelForCausalLM.from_config(CONFIGS[name], dtype=torch.float32))
    recipe = TrainConfig(model="-", corpus="-", output=Path("-"), steps=100)
    settings = deepspeed_config(recipe, precision, world_size=1, on_cuda=False)
    parameters: Any = list(model.parameters())
    engine: Any = deepspeed.initialize(model=model, model_parameters=parameters, config=settings)[0]
    assert {weight.dtype for weight in engine.module.parameters()} == {DTYPES[precision]}
    tables = [table for table in engine.module.buffers() if table.is_floating_point()]
    assert tables
    assert {table.dtype for table in tables} == {torch.float32}


def test_the_chunked_loss_is_the_plain_one() -> None:
    plain, packed = pair("codegen")
    ids, positions = packed_row()
    labels = ids.masked_fill(positions == 0, -100)
    total, tokens = packed(ids, positions, labels)
    logits = plain(input_ids=ids, position_ids=positions, use_cache=False).logits
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert int(tokens) == 2 * (sum(LENGTHS) - len(LENGTHS))
    torch.testing.assert_close(total / tokens, expected)
