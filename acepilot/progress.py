"""Progress of long work: a rich bar on a terminal, a few plain lines elsewhere."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from acepilot.cli import text_console

Advance = Callable[[float], None]
"""Called with what is done so far, in the unit of `total`."""


@contextmanager
def byte_progress(description: str, total_bytes: int, console: Console | None = None) -> Generator[Advance]:
    """Yields a function that is told how many bytes are done so far."""
    size = f"{total_bytes / 1e6:.0f} MB"
    with _progress(description, total_bytes, size, DownloadColumn(), console) as advance:
        yield advance


@contextmanager
def count_progress(description: str, total: int, console: Console | None = None) -> Generator[Advance]:
    """Yields a function that is told how many items are done so far."""
    with _progress(description, total, str(total), MofNCompleteColumn(), console) as advance:
        yield advance


@contextmanager
def _progress(
    description: str, total: int, size: str, amount: ProgressColumn, console: Console | None
) -> Generator[Advance]:
    console = console or text_console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(description, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    quarter_told = 0
    console.print(f"{description}: {size}")

    def advance(done: float) -> None:
        nonlocal quarter_told
        quarter = int(4 * done / max(total, 1))
        if quarter > quarter_told:
            quarter_told = quarter
            console.print(f"{description}: {25 * quarter} %")

    yield advance
