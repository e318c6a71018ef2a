"""Quantize matrices to 8 or 4 bits, as nodes in the form that OpenVINO's CPU plugin computes with.

8 bits have one scale and zero point for each row; 4 bits have them for each group of GROUP numbers of a row,
with the best of several scales by squared error.
"""

from typing import Any, Literal

import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from torch import Tensor

WeightBits = Literal["int8", "int4"]

GROUP = 32  # numbers that share a 4-bit scale; 0.75 bits a number for scale and zero point
PART_NUMBERS = 2**24  # numbers quantized at a time, which limits the float32 copies to some 100 MB
SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Factors by which a group's range is tried: a smaller range clips outliers, but is finer for all others."""


def compressed(weight: Tensor, bits: WeightBits) -> Any:
    """Return a node with the float32 [O, I] of `weight`; where GROUP does not divide I, int4 becomes int8."""
    rows, width = weight.shape
    if bits == "int4" and width % GROUP == 0:
        codes, scales, zeros = quantized(weight.reshape(rows, -1, GROUP), 15)
        kind = openvino.Type.u4
    else:
        codes, scales, zeros = quantized(weight, 255)
        kind = openvino.Type.u8
    numbers = ops.subtract(_as_f16(codes, kind), _as_f16(zeros, kind))
    numbers = ops.multiply(numbers, ops.constant(scales.numpy()))
    if codes.dim() == 3:
        numbers = ops.reshape(numbers, ops.constant(np.array([rows, width])), special_zero=False)
    return ops.convert(numbers, np.float32)


def quantized(weight: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return uint8 codes [O, ..., N], float16 scales and uint8 zeros [O, ..., 1] of float [O, ..., N].

    A number is `(code - zero) * scale`, with codes from 0 to `most`.
    """
    rows = max(1, PART_NUMBERS // weight[0].numel())
    parts = [_quantized_part(part.float(), most) for part in torch.split(weight, rows)]
    codes, scales, zeros = (torch.cat(same) for same in zip(*parts, strict=True))
    return codes, scales, zeros


def _quantized_part(weight: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    low = weight.amin(-1, keepdim=True).clamp(max=0)
    high = weight.amax(-1, keepdim=True).clamp(min=0)
    best = torch.full_like(low, torch.inf)
    scales, zeros = torch.ones_like(low), torch.zeros_like(low)
    for shrink in SHRINKS if most < 255 else (1.0,):
        # The scale is stored in half precision, so the codes are chosen for its rounded value.
        scale = ((high - low) * shrink / most).clamp(min=2**-24).to(torch.float16).float()
        zero = (-low * shrink / scale).round().clamp(0, most)
        codes = ((weight / scale).round() + zero).clamp(0, most)
        error = ((codes - zero) * scale - weight).square().sum(-1, keepdim=True)
        better = error < best
        best = torch.where(better, error, best)
        scales, zeros = torch.where(better, scale, scales), torch.where(better, zero, zeros)
    codes = ((weight / scales).round() + zeros).clamp(0, most)
    return codes.to(torch.uint8), scales.to(torch.float16), zeros.to(torch.uint8)


def _as_f16(codes: Tensor, kind: openvino.Type) -> Any:
    return ops.convert(ops.constant(codes.numpy(), kind), np.float16)
