"""The parts of a traced model: matrices that stay in their files, and attention whose cache is a list.

`StoredMatrix` replaces each Linear and Embedding. The trace needs only shapes; the compressed matrix is read
when the graph is built. So tracing a model of any size needs only the memory of the compressed result.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class StoredMatrix(nn.Module):
    """A matrix of the source. `read()` returns float [O, I]; tied matrices have the same `name`.

    For the trace it computes zeros of the right shape; writer.py puts the real operation into the graph.
    """

    def __init__(self, name: str, shape: tuple[int, int], read: Callable[[], Tensor], *, table: bool) -> None:
        super().__init__()
        self.name = name
        self.read = read
        self.shape = shape
        self.is_table = table

    def shape_like(self, value: Tensor) -> Tensor:
        """Return zeros: [..., I] -> [..., O]; for an embedding table, [...] -> [..., I]."""
        if self.is_table:
            return torch.zeros(*value.shape, self.shape[1])
        return torch.zeros(*value.shape[:-1], self.shape[0])


class StoredLinear(nn.Module):
    """A Linear whose matrix stays in its file."""

    def __init__(self, matrix: StoredMatrix, bias: Tensor | None) -> None:
        super().__init__()
        self.matrix = matrix
        self.bias = bias if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, value: Tensor) -> Tensor:
        product = self.matrix(value)
        return product if self.bias is None else product + self.bias


class PastAttention:
    """The attention of all layers in one forward pass, with the cached keys and values.

    `tensors` are float32 [B, h, P, D], keys and values of each layer in turn; the pass appends to them.
    """

    def __init__(self, past: Sequence[Tensor], attention_mask: Tensor, tokens: int) -> None:
        """`attention_mask` is int64 [B, P + T]; `tokens` is T, the number of new tokens."""
        total = attention_mask.shape[1]
        causal = torch.arange(total)[None] <= torch.arange(total - tokens, total)[:, None]
        self._mask = causal[None, None] & attention_mask[:, None, None].bool()
        self.tensors = list(past)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Compute float query [B, H, T, D], key and value [B, h, T, D] (h divides H) -> [B, T, H, D].

        Keys and values are repeated by expand and flatten, the only form that OpenVINO's paged attention
        recognizes.
        """
        at = 2 * layer
        key = self.tensors[at] = torch.cat((self.tensors[at], key), 2)
        value = self.tensors[at + 1] = torch.cat((self.tensors[at + 1], value), 2)
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = (
                heads[:, :, None].expand(-1, -1, groups, -1, -1).flatten(1, 2) for heads in (key, value)
            )
        out = functional.scaled_dot_product_attention(query, key, value, self._mask, scale=scale)
        return out.transpose(1, 2)
