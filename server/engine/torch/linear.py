"""Linear layers in the form that is fastest on the device; all models of the torch engine use them.

On a CPU nearly all time of a step is spent here. torch stores weights row by row, and oneDNN rearranges them
at every call; PackedLinear rearranges them once. On one Zen 5 core, with [7168, 1024] in bfloat16, that
shortens one token from 1.1 to 0.6 ms. In float32, for which torch calls MKL, it shortens 512 tokens from 83
to 35 ms.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

INT8_PACK_ROWS = 16
"""Rows of input up to which, on a CPU, torch's int8 kernel is faster than converting the weights."""


@dataclass(frozen=True)
class WeightFormat:
    """The device and the type to compute in. With `int8`, linear layers store their weights as int8."""

    device: torch.device
    dtype: torch.dtype
    int8: bool = False


class Linear(nn.Module):
    """A layer with `weight` [out, in] and `bias` [out] or None. It can also compute the next operation."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Buffer(weight.detach())
        self.bias = None if bias is None else nn.Buffer(bias.detach())

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the layer: [..., in] -> [..., out]."""
        return functional.linear(inputs, self.weight, self.bias)

    def with_gelu(self, inputs: Tensor) -> Tensor:
        """Compute the layer and then GELU in its tanh form."""
        return functional.gelu(self(inputs), approximate="tanh")

    def added_to(self, residual: Tensor, inputs: Tensor) -> Tensor:
        """Compute the layer and add it to `residual`: [..., out], [..., in] -> [..., out]."""
        return residual + self(inputs)


class PackedLinear(Linear):
    """A layer for a CPU, whose `weight` is in the order in which oneDNN reads it for any number of rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous()), bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")

    def with_gelu(self, inputs: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "gelu", [], "tanh")

    def added_to(self, residual: Tensor, inputs: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise.binary(inputs, residual, self.weight, self.bias, "add")


class Int8Linear(Linear):
    """A layer with int8 weights [out, in] and a scale per output: half the bytes of float16."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        scale = weight.detach().float().abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        super().__init__((weight.detach().float() / scale).round().to(torch.int8), bias)
        self.scale = nn.Buffer(scale.to(weight.dtype))

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.device.type != "cpu":
            return functional.linear(inputs, self.weight * self.scale, self.bias)
        rows = inputs.numel() // inputs.shape[-1]
        if rows > INT8_PACK_ROWS:  # converting first: one product of two types is 9 times slower
            return functional.linear(inputs, self.weight.to(inputs.dtype).mul_(self.scale), self.bias)
        flat = inputs.reshape(rows, -1).bfloat16()
        out = torch.ops.aten._weight_int8pack_mm(flat, self.weight, self.scale.flatten().bfloat16())
        out = out.view(*inputs.shape[:-1], -1).to(inputs.dtype)
        return out if self.bias is None else out + self.bias


def linear(weight: Tensor, bias: Tensor | None, weight_format: WeightFormat) -> Linear:
    if weight_format.int8:
        return Int8Linear(weight, bias)
    return PackedLinear(weight, bias) if can_pack(weight_format) else Linear(weight, bias)


def can_pack(weight_format: WeightFormat) -> bool:
    """Return whether oneDNN is available and supports this type on this CPU."""
    if weight_format.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if weight_format.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return weight_format.dtype == torch.float32


def refit_linears(model: nn.Module, weight_format: WeightFormat) -> None:
    """Replace torch's linear layers by those of this module, one by one so that memory is freed early."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                setattr(parent, name, linear(child.weight, child.bias, weight_format))
