"""The tables of `python -m bench load`: all cells, ours over each peer's, and each contestant over the
limits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from bench.limits import Machine, ModelNeeds
from bench.load.load import Cell


@dataclass(frozen=True)
class Measured:
    """The figures of one contestant. `warm_s` and `cold_s`: seconds to the first token of a prompt that has
    grown, and of the same prompt when new.
    """

    name: str
    quantisation: str
    version: str
    cells: list[Cell]
    warm_s: float
    cold_s: float

    def cell(self, prompt_tokens: int, clients: int) -> Cell:
        return next(
            cell for cell in self.cells if (cell.prompt_tokens, cell.clients) == (prompt_tokens, clients)
        )

    @property
    def batching(self) -> float:
        """Return the time of the most clients' shortest prompts together over the same number one after
        another.
        """
        size, most = self.cells[0].prompt_tokens, self.cells[-1].clients
        return self.cell(size, 1).rate / self.cell(size, most).rate


def tables(measured: Sequence[Measured], machine: Machine, needs: ModelNeeds) -> Iterator[Table]:
    yield _cells(measured)
    yield _ratios(measured)
    yield _limits(measured, machine, needs)


def _cells(measured: Sequence[Measured]) -> Table:
    table = Table(
        "contestant", "weights", "prompt tokens", "clients", "first token s", "in all s", "tokens/s"
    )
    for one in measured:
        for cell in one.cells:
            size = (str(cell.prompt_tokens), str(cell.clients))
            times = (f"{cell.first_s:.2f}", f"{cell.total_s:.2f}", f"{cell.rate:.1f}")
            table.add_row(f"{one.name} {one.version}", one.quantisation, *size, *times)
    return table


def _ratios(measured: Sequence[Measured]) -> Table:
    """Return first token and total, ours over theirs: below 1 is faster."""
    first, *peers = measured
    table = Table(f"{first.name} over", "prompt tokens", "clients", "first token", "in all")
    for peer in peers:
        for cell in first.cells:
            theirs = peer.cell(cell.prompt_tokens, cell.clients)
            ratios = (cell.first_s / theirs.first_s, cell.total_s / theirs.total_s)
            table.add_row(
                peer.name, str(cell.prompt_tokens), str(cell.clients), *(f"{ratio:.2f}" for ratio in ratios)
            )
    return table


def _limits(measured: Sequence[Measured], machine: Machine, needs: ModelNeeds) -> Table:
    longest = max(cell.prompt_tokens for cell in measured[0].cells)
    bound_s, bound_rate = needs.prompt_s(machine, longest), needs.tokens_a_second(machine)
    table = Table(
        "contestant",
        f"first token of {longest} over the limit of {bound_s:.2f} s",
        f"tokens/s of one stream over the limit of {bound_rate:.0f}",
        "clients together over one by one",
        "first token, seen before over new",
        title=f"limits: {machine.read / 1e9:.1f} GB/s read, {machine.bf16 / 1e9:.0f} GFLOP/s in bf16, "
        f"{machine.int8 / 1e9:.0f} GOP/s in int8; {needs.token_bytes / 1e6:.0f} MB and "
        f"{needs.token_operations / 1e9:.2f} GFLOP a token",
    )
    for one in measured:
        alone = one.cell(longest, 1)
        ratios = (
            alone.first_s / bound_s, alone.decode_rate / bound_rate, one.batching, one.warm_s / one.cold_s
        )  # fmt: skip
        table.add_row(one.name, *(f"{ratio:.2f}" for ratio in ratios))
    return table
