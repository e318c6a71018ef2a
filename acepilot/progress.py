"""Show the progress of long work: a bar on a terminal, a line per quarter elsewhere."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

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
"""To be called with the amount done so far, in the unit of the total."""


def byte_progress(
    description: str, total_bytes: int, console: Console | None = None
) -> AbstractContextManager[Advance]:
    """Enter a function to be called with the number of bytes done so far."""
    return _progress(description, total_bytes, f"{total_bytes / 1e6:.0f} MB", DownloadColumn(), console)


def count_progress(
    description: str, total: int, console: Console | None = None
) -> AbstractContextManager[Advance]:
    """Enter a function to be called with the number of items done so far."""
    return _progress(description, total, str(total), MofNCompleteColumn(), console)


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
    last_quarter = 0
    console.print(f"{description}: {size}")

    def advance(done: float) -> None:
        nonlocal last_quarter
        quarter = int(4 * done / max(total, 1))
        if quarter > last_quarter:
            last_quarter = quarter
            console.print(f"{description}: {25 * quarter} %")

    yield advance
