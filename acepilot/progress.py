"""Progress of long work: a rich bar on a terminal, a few plain lines elsewhere."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[float], None]
"""Called with what is done so far, in the unit of `total`."""


@contextmanager
def byte_progress(description: str, total_bytes: int, console: Console | None = None) -> Generator[Advance]:
    """Yields a function that is told how many bytes are done so far."""
    console = console or Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(description, total=total_bytes)
            yield lambda done: bar.update(task, completed=done)
        return
    quarter_told = 0
    console.print(f"{description}: {total_bytes / 1e6:.0f} MB", highlight=False)

    def tell(done: float) -> None:
        nonlocal quarter_told
        quarter = int(4 * done / max(total_bytes, 1))
        if quarter > quarter_told:
            quarter_told = quarter
            console.print(f"{description}: {25 * quarter} %", highlight=False)

    yield tell
