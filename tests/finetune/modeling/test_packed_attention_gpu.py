"""Packed attention on a card equals the CPU's for heads of every width; new lengths take no longer."""

import statistics
import time

import pytest
import torch
from torch import Tensor, nn

from finetune.modeling.packed_attention import packed_attention, use_packed_attention
from tests.finetune.modeling.test_packed_attention import pair

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA card"),
]

LENGTHS = [300, 1, 17, 700, 6]


def heads(dtype: torch.dtype, width: int, tokens: int) -> list[Tensor]:
    """Return query, key and value of one row on the card, with 16 heads of `width`."""
    draw = torch.Generator().manual_seed(0)
    made = [torch.randn(1, 16, tokens, width, generator=draw).to("cuda", dtype) for _ in range(3)]
    return [tensor.requires_grad_() for tensor in made]


def attend(query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
    scale = query.shape[-1] ** -0.5
    return packed_attention(nn.Identity(), query, key, value, None, scale, document_lengths=lengths)[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("width", [64, 80, 256])
def test_outputs_and_gradients_are_the_cpus(width: int, dtype: torch.dtype) -> None:
    use_packed_attention(pair("codegen")[0])
    on_card = heads(dtype, width, sum(LENGTHS))
    on_cpu = [tensor.detach().cpu().float().requires_grad_() for tensor in on_card]
    results: list[list[Tensor]] = []
    for query, key, value in (on_card, on_cpu):
        out = attend(query, key, value, LENGTHS)
        gradients = torch.autograd.grad(out.float().square().sum(), [query, key, value])
        results.append([out, *gradients])
    for ours, theirs in zip(*results, strict=True):
        scale = float(theirs.detach().abs().max())
        torch.testing.assert_close(ours.detach().cpu().float(), theirs.detach(), atol=0.02 * scale, rtol=0)


def test_new_document_lengths_take_no_longer() -> None:
    """cuDNN's attention, the default on some cards, takes a tenth of a second to plan for each new length."""
    use_packed_attention(pair("codegen")[0])
    query, key, value = heads(torch.bfloat16, 80, 1024)

    def seconds(first: int) -> float:
        torch.cuda.synchronize()
        began = time.perf_counter()
        attend(query, key, value, [first, 1024 - first]).sum().backward()
        torch.cuda.synchronize()
        return time.perf_counter() - began

    seconds(100)
    known = statistics.median(seconds(100) for _ in range(10))
    assert statistics.median(seconds(first) for first in range(101, 121)) < 5 * known
