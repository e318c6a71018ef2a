"""What a traced model is made of: matrices that stay in their files, and attention whose cache is a list.

`StoredMatrix` stands where a Linear or an Embedding was: the trace needs only the shapes, and the graph gets
the compressed matrix when it is built. So a model of any size is traced at once, in the memory of its result.
"""

# torch and transformers are typed only in part; the tests check how they are used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class StoredMatrix(nn.Module):
    """`read()`: float [O, I]. `name` is the same for matrices that are one, as tied ones are.

    What it computes is known to the graph only (engine.py); `shape_like` is what the trace sees.
    """

    def __init__(self, name: str, shape: tuple[int, int], read: Callable[[], Tensor], *, table: bool) -> None:
        super().__init__()
        self.name = name
        self.read = read
        self.shape = shape
        self.is_table = table

    def shape_like(self, value: Tensor) -> Tensor:
        """[..., I] -> [..., O]; of a table, [...] -> [..., I]."""
        if self.is_table:
            return torch.zeros(*value.shape, self.shape[1])
        return torch.zeros(*value.shape[:-1], self.shape[0])


class StoredLinear(nn.Module):
    def __init__(self, matrix: StoredMatrix, bias: Tensor | None) -> None:
        super().__init__()
        self.matrix = matrix
        self.bias = bias if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, value: Tensor) -> Tensor:
        product = self.matrix(value)
        return product if self.bias is None else product + self.bias


class PastAttention:
    """Attention of all layers to what came before, for one forward pass.

    `tensors`: float32 [B, h, P, D], keys and values of each layer in turn; the pass adds the new tokens.
    """

    def __init__(self, past: Sequence[Tensor], attention_mask: Tensor, tokens: int) -> None:
        """`attention_mask`: int64 [B, P + T], of which `tokens` T are new."""
        total = attention_mask.shape[1]
        causal = torch.arange(total)[None] <= torch.arange(total - tokens, total)[:, None]
        self._seen = causal[None, None] & attention_mask[:, None, None].bool()
        self.tensors = list(past)

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """float [B, H, T, D], twice [B, h, T, D] with h dividing H -> [B, T, H, D].

        Keys and values of fewer heads are repeated in the one form that OpenVINO's paged attention knows.
        """
        at = 2 * layer
        key = self.tensors[at] = torch.cat((self.tensors[at], key), 2)
        value = self.tensors[at + 1] = torch.cat((self.tensors[at + 1], value), 2)
        groups = query.shape[1] // key.shape[1]
        if groups > 1:
            key, value = (
                heads[:, :, None].expand(-1, -1, groups, -1, -1).flatten(1, 2) for heads in (key, value)
            )
        out = functional.scaled_dot_product_attention(query, key, value, self._seen, scale=scale)
        return out.transpose(1, 2)
