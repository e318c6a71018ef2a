"""Measure this machine's limits and compute what a model needs: together, the lower bound of a measured time.

A generated token reads every weight once, so the memory bandwidth divided by the weights' bytes bounds the
tokens per second of one stream. A prompt multiplies every weight with every token, so its operations divided
by the rate of a large matrix product bound the time to its first token. Both are measured in the same run as
the figures that are compared with them.
"""

# torch is only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportPrivateImportUsage=false
# pyright: reportPrivateUsage=false

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from gguf import GGUFReader

READ_BYTES = 1 << 30
"""Bytes to read: more than any cache of the processor holds."""
MATRIX = (1024, 4096, 4096)
"""Rows, inner dimension and columns: the size of a prompt's products in models of 0.5 to 3 billion."""
ROUNDS = 5
EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"


@dataclass(frozen=True)
class Machine:
    """The machine's limits: `read` in bytes per second, `bf16` and `int8` in operations per second.

    A multiply-add is two operations.
    """

    read: float
    bf16: float
    int8: float

    @property
    def best_matmul(self) -> float:
        return max(self.bf16, self.int8)


@dataclass(frozen=True)
class ModelNeeds:
    """What a model needs: `token_bytes` read for each generated token, `token_operations` for each prompt
    token.
    """

    token_bytes: int
    token_operations: int

    def tokens_a_second(self, machine: Machine) -> float:
        """Return the upper bound for one stream."""
        return machine.read / self.token_bytes

    def prompt_s(self, machine: Machine, tokens: int) -> float:
        """Return the lower bound in seconds to the first token of an unknown prompt, without attention."""
        return tokens * self.token_operations / machine.best_matmul


def measure_machine() -> Machine:
    """Measure for some seconds, on all cores that this process may use."""
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
    """Compute the needs from the file's tensors.

    The embedding is looked up and not read, unless it is also the output matrix. The output matrix is
    multiplied with the last token of a prompt only.
    """
    tensors = {tensor.name: tensor for tensor in GGUFReader(gguf).tensors}
    output = OUTPUT if OUTPUT in tensors else EMBEDDING
    layers = [tensor for name, tensor in tensors.items() if name not in (EMBEDDING, OUTPUT)]
    return ModelNeeds(
        token_bytes=sum(int(tensor.n_bytes) for tensor in [*layers, tensors[output]]),
        token_operations=2 * sum(int(tensor.n_elements) for tensor in layers if len(tensor.shape) > 1),
    )


def _best_s(work: Callable[[], object]) -> float:
    """Return the shortest of ROUNDS times after a first round that is not counted."""
    work()
    times: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
