"""Linear layers in the form that suits the device; every model of the torch engine is built of them.

On a CPU nearly all time of a step goes into these. torch keeps weights row by row, and oneDNN rearranges
them at every call. Measured on one Zen 5 core with [7168, 1024] in bfloat16: one token takes 1.1 ms, and
0.6 ms with weights that were rearranged before. In float32, where torch calls MKL, 512 tokens take 83 ms,
and 35 ms.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

INT8_PACK_ROWS = 16
"""Up to as many rows torch's kernel for int8 weights is faster on a CPU than making bfloat16 of them."""


@dataclass(frozen=True)
class WeightFormat:
    """Where and in what to compute; `int8`: the weights of linear layers are kept as int8."""

    device: torch.device
    dtype: torch.dtype
    int8: bool = False


class Linear(nn.Module):
    """`weight` [out, in], `bias` [out] or None: as torch's own, with what comes next done in one go."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Buffer(weight.detach())
        self.bias = None if bias is None else nn.Buffer(bias.detach())

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return functional.linear(inputs, self.weight, self.bias)

    def with_gelu(self, inputs: Tensor) -> Tensor:
        """GELU in its tanh form."""
        return functional.gelu(self(inputs), approximate="tanh")

    def added_to(self, residual: Tensor, inputs: Tensor) -> Tensor:
        """[..., out], [..., in] -> [..., out]."""
        return residual + self(inputs)


class PackedLinear(Linear):
    """On a CPU: `weight` lies as oneDNN reads it, whatever the number of rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous()), bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")

    def with_gelu(self, inputs: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "gelu", [], "tanh")

    def added_to(self, residual: Tensor, inputs: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise.binary(inputs, residual, self.weight, self.bias, "add")


class Int8Linear(Linear):
    """`weight` is int8 [out, in], a scale an output: half the bytes of float16."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        scale = weight.detach().float().abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        super().__init__((weight.detach().float() / scale).round().to(torch.int8), bias)
        self.scale = nn.Buffer(scale.to(weight.dtype))

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.device.type != "cpu":
            return functional.linear(inputs, self.weight * self.scale, self.bias)
        rows = inputs.numel() // inputs.shape[-1]
        if rows > INT8_PACK_ROWS:  # in two steps: as one product of two types this is 9 times slower
            return functional.linear(inputs, self.weight.to(inputs.dtype).mul_(self.scale), self.bias)
        flat = inputs.reshape(rows, -1).bfloat16()
        out = torch.ops.aten._weight_int8pack_mm(flat, self.weight, self.scale.flatten().bfloat16())
        out = out.view(*inputs.shape[:-1], -1).to(inputs.dtype)
        return out if self.bias is None else out + self.bias


def linear(weight: Tensor, bias: Tensor | None, numbers: WeightFormat) -> Linear:
    if numbers.int8:
        return Int8Linear(weight, bias)
    return PackedLinear(weight, bias) if packs(numbers) else Linear(weight, bias)


def packs(numbers: WeightFormat) -> bool:
    """Whether oneDNN is there and knows these numbers on this CPU."""
    if numbers.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if numbers.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return numbers.dtype == torch.float32


def refit_linears(model: nn.Module, numbers: WeightFormat) -> None:
    """Puts layers of this module in place of torch's own, one by one, so that memory is freed as it goes."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                setattr(parent, name, linear(child.weight, child.bias, numbers))
