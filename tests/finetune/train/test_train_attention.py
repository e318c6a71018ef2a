"""Packed attention is transformers' own, to float32's rounding, with each document by itself."""

import copy
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, CodeGenConfig, LlamaConfig, Qwen2Config

from finetune.modeling import LossModel
from finetune.modeling_attention import attend, document_lengths, rotary_angles, rotate, use_packed_attention

CODEGEN = CodeGenConfig(
    vocab_size=320, n_positions=256, n_ctx=256, n_embd=64, n_layer=3, n_head=4, rotary_dim=8,
    resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
)  # fmt: skip
LLAMA_LIKE = {
    "vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
CONFIGS = {"codegen": CODEGEN, "llama": LlamaConfig(**LLAMA_LIKE), "qwen2": Qwen2Config(**LLAMA_LIKE)}
LENGTHS = (30, 1, 65, 4)


def pair(name: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    plain: Any = AutoModelForCausalLM.from_config(CONFIGS[name], attn_implementation="eager")
    with torch.no_grad():
        for weight in plain.parameters():
            weight.mul_(3)  # random weights attend evenly: these have opinions
    packed = copy.deepcopy(plain)
    use_packed_attention(packed)
    return plain, packed


def packed_row(rows: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    positions = torch.cat([torch.arange(length) for length in LENGTHS])
    return torch.randint(0, 320, (rows, len(positions))), positions.repeat(rows, 1)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_and_gradients_are_those_of_transformers(name: str) -> None:
    plain, packed = pair(name)
    ids, positions = packed_row()
    outputs = [
        model(input_ids=ids, position_ids=positions, use_cache=False).logits for model in (plain, packed)
    ]
    scale = float(outputs[0].detach().abs().max())
    assert scale > 0.5
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5 * scale, rtol=0)
    gradients = [
        torch.autograd.grad(out.log_softmax(-1)[..., 7].sum(), list(model.parameters()))
        for out, model in zip(outputs, (plain, packed), strict=True)
    ]
    for ours, theirs in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()) + 1e-7, rtol=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_document_sees_no_other(name: str) -> None:
    _, packed = pair(name)
    ids, positions = packed_row(rows=1)
    together = packed(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
    start = 0
    for length in LENGTHS:
        alone = packed(
            input_ids=ids[:, start : start + length], position_ids=torch.arange(length)[None], use_cache=False
        ).logits[0]
        torch.testing.assert_close(together[start : start + length], alone, atol=2e-5, rtol=1e-4)
        start += length


def test_a_row_cut_within_a_document_begins_a_document() -> None:
    assert document_lengths(torch.tensor([[5, 6, 0, 1, 2], [0, 1, 2, 3, 4]]), 2) == [2, 3, 5]
    assert document_lengths(torch.tensor([[0, 1, 0]]), 2) == [2, 1, 2, 1]


def test_scores_beyond_float16_do_not_overflow() -> None:
    """300 * 300 * 64 is 5.8 million, and float16 ends at 65,504."""
    torch.manual_seed(0)
    query = torch.full((1, 8, 2, 64), 300.0, dtype=torch.float16)
    value = torch.randn(1, 8, 2, 64, dtype=torch.float16)
    out = attend(query, query, value, [8], 1.0)
    assert torch.isfinite(out).all()
    torch.testing.assert_close(out[0, -1].float(), value[0].float().mean(0), atol=2e-3, rtol=0)


def test_half_precision_weights_do_not_blur_late_positions() -> None:
    """transformers keeps its table of angles in the weights' type; ours is float32 at every position."""
    position = torch.tensor([[2047]])
    cos, _ = rotary_angles(position, 2)
    assert float(cos) == pytest.approx(torch.cos(torch.tensor(2047.0, dtype=torch.float64)).item(), abs=1e-4)
    heads = torch.randn(1, 1, 2, 8)
    turned = rotate(heads, *rotary_angles(torch.tensor([[0]]), 4))
    torch.testing.assert_close(turned, heads)


def test_the_chunked_loss_is_the_plain_one() -> None:
    plain, packed = pair("codegen")
    ids, positions = packed_row()
    labels = ids.masked_fill(positions == 0, -100)
    total, tokens = LossModel(packed)(ids, positions, labels)
    logits = plain(input_ids=ids, position_ids=positions, use_cache=False).logits
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert int(tokens) == 2 * (sum(LENGTHS) - len(LENGTHS))
    torch.testing.assert_close(total / tokens, expected)
