"""Matrices in 8 or 4 bits as nodes of an OpenVINO graph, in the form that its CPU plugin computes with.

8 bits: a scale and a zero for each row. 4 bits: for each `GROUP` numbers of a row, the scale being the one of
several that leaves the smallest squared error.
"""

# openvino is typed only in part; the tests check how it is used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any, Literal

import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from torch import Tensor

WeightBits = Literal["int8", "int4"]

GROUP = 32
PART_NUMBERS = 2**24
SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8)
"""How far a group's range may be cut at its ends: cutting off an outlier makes all others finer."""


def compressed(weight: Tensor, bits: WeightBits) -> Any:
    """float [O, I] -> a node that gives float32 [O, I]; rows that 4-bit groups do not divide get 8 bits."""
    rows, width = weight.shape
    if bits == "int4" and width % GROUP == 0:
        codes, scales, zeros = quantized(weight.unflatten(1, (-1, GROUP)), 15)
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
    """float [O, ..., N] -> uint8 codes [O, ..., N], float16 scales and uint8 zeros [O, ..., 1].

    A number is `(code - zero) * scale`, with codes up to `most`. Some rows at a time: their copies in float32
    are several times what comes out.
    """
    rows = max(1, PART_NUMBERS // weight[0].numel())
    parts = [_quantized_part(part.float(), most) for part in weight.split(rows)]
    codes, scales, zeros = (torch.cat(same) for same in zip(*parts, strict=True))
    return codes, scales, zeros


def _quantized_part(weight: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    low = weight.amin(-1, keepdim=True).clamp(max=0)
    high = weight.amax(-1, keepdim=True).clamp(min=0)
    best = torch.full_like(low, torch.inf)
    scales, zeros = torch.ones_like(low), torch.zeros_like(low)
    for shrink in SHRINKS if most < 255 else (1.0,):
        # half precision keeps the scale: what it rounds to is what the codes are chosen for
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
