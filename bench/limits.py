"""What this machine could do at best, and what a model asks of it: the floor under every measured time.

A token that is generated reads every weight once, so bandwidth over weight bytes bounds tokens a second of
one stream. A prompt multiplies every weight with every token, so its operations over the rate of a large
matrix product bound the time to its first token. Measured in the same run as what is compared with them.
"""

# torch is typed in part
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportPrivateImportUsage=false
# pyright: reportPrivateUsage=false

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from gguf import GGUFReader

READ_BYTES = 1 << 30
MATRIX = (1024, 4096, 4096)
"""Rows, inner, columns: the size of a prompt's products in a model of half a billion to three billion."""
ROUNDS = 5
EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"


@dataclass(frozen=True)
class Machine:
    """`read` in bytes a second; `bf16` and `int8` in operations a second, a multiply-add being two."""

    read: float
    bf16: float
    int8: float

    @property
    def best_matmul(self) -> float:
        return max(self.bf16, self.int8)


@dataclass(frozen=True)
class ModelNeeds:
    """`token_bytes`: weights that each generated token reads. `token_operations`: of each prompt token."""

    token_bytes: int
    token_operations: int

    def tokens_a_second(self, machine: Machine) -> float:
        """Of one stream, at most."""
        return machine.read / self.token_bytes

    def prompt_s(self, machine: Machine, tokens: int) -> float:
        """To the first token of a prompt of which nothing is known yet, at least; attention left out."""
        return tokens * self.token_operations / machine.best_matmul


def measure_machine() -> Machine:
    """Takes some seconds; uses all cores that this process may use."""
    numbers = torch.ones(READ_BYTES // 4)
    rows, inner, columns = MATRIX
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    operations = 2 * rows * inner * columns
    half_left, half_right = left.bfloat16(), right.bfloat16()
    small_left, small_right = left.char(), right.char()
    return Machine(
        read=READ_BYTES / _best_s(lambda: numbers.sum()),
        bf16=operations / _best_s(lambda: half_left @ half_right),
        int8=operations / _best_s(lambda: torch._int_mm(small_left, small_right)),
    )


def model_needs(gguf: Path) -> ModelNeeds:
    """From the file's tensors: the embedding is looked up, not read, unless it is the output matrix, too.

    The output matrix is multiplied with a prompt's last token only.
    """
    tensors = {tensor.name: tensor for tensor in GGUFReader(gguf).tensors}
    output = OUTPUT if OUTPUT in tensors else EMBEDDING
    layers = [tensor for name, tensor in tensors.items() if name not in (EMBEDDING, OUTPUT)]
    return ModelNeeds(
        token_bytes=sum(int(tensor.n_bytes) for tensor in [*layers, tensors[output]]),
        token_operations=2 * sum(int(tensor.n_elements) for tensor in layers if len(tensor.shape) > 1),
    )


def _best_s(work: Callable[[], object]) -> float:
    """The shortest of some rounds, after one to warm up: a limit is what nothing disturbs."""
    work()
    times: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
