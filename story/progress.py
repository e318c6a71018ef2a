"""Print the story's plan, its steps with the remaining time, and its findings."""

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status
from rich.text import Text

from story.pipeline import Step, Story
from story.sizes import Size

PLAIN_EVERY_S = 60.0
"""Seconds between two prints of a step's last log line where there is no terminal."""
LEAST_GUESS_S = 5.0
"""Steps with a shorter guess are not used to estimate the machine's speed."""


class StoryProgress:
    """Print a line for each step, and on a terminal a line that moves.

    Remaining times are the steps' guesses, scaled by the measured pace of the steps that are done.
    """

    def __init__(self, story: Story, steps: Sequence[Step], console: Console) -> None:
        self._story = story
        self._steps = steps
        self._console = console
        self._status: Status | None = console.status("") if console.is_terminal else None

    def __enter__(self) -> Self:
        done = [step for step in self._steps if self._story.is_done(step)]
        if done:
            self._console.print(f"{len(done)} of {len(self._steps)} steps are done already and are skipped")
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    @contextmanager
    def running(self, step: Step) -> Generator[Callable[[str], None]]:
        """Print the step's begin and end; yield a function that takes the last line of its log."""
        number = f"{self._steps.index(step) + 1}/{len(self._steps)} {step.name}"
        scale = pace(self._story, self._steps)
        left_s = scale * sum(one.guess_s for one in self._steps if not self._story.is_done(one))
        self._console.print(f"{number}: {step.title}")
        about = f"  about {in_words(scale * step.guess_s)}; {in_words(left_s)} left in all"
        self._console.print(f"{about}{'' if scale != 1 else ', guessed'}")
        began = printed = time.monotonic()

        def on_line(line: str) -> None:
            nonlocal printed
            now = time.monotonic()
            if self._status:
                self._status.update(Text(f"{number} {in_words(now - began)} · {line[:100]}"))
            elif now - printed >= PLAIN_EVERY_S:
                printed = now
                self._console.print(f"  {in_words(now - began)}: {line}")

        yield on_line
        self._console.print(f"  done in {in_words(time.monotonic() - began)}")


def pace(story: Story, steps: Sequence[Step]) -> float:
    """Return the measured time of the finished steps over their guessed time; 1 if no step is done."""
    measured = guessed = 0.0
    for step in steps:
        record = story.record(step)
        if record and record.done and step.guess_s >= LEAST_GUESS_S:
            measured, guessed = measured + record.seconds, guessed + step.guess_s
    return measured / guessed if guessed else 1.0


def in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def print_plan(story: Story, steps: Sequence[Step], size: Size, console: Console) -> None:
    scale = pace(story, steps)
    console.print(f"{size.name}: {size.what}")
    console.print(f"STORY is {story.folder}; commands run with ACEPILOT_HOME=STORY/home")
    for number, step in enumerate(steps, 1):
        done = story.is_done(step)
        record = story.record(step)
        took = in_words(record.seconds) if done and record else f"about {in_words(scale * step.guess_s)}"
        console.print(f"\n{number}. {step.name}: {step.title}", style="bold")
        console.print(f"   {'done, took ' if done else ''}{took}")
        if step.served:
            console.print(f"   while this runs: python -m server --model {step.served}")
        for one in step.work:
            console.print(f"   {story.described(one)}")
    left_s = scale * sum(step.guess_s for step in steps if not story.is_done(step))
    guessed = "measured on the steps that are done" if scale != 1 else "guessed; no step is measured yet"
    console.print(f"\n{len(steps)} steps, {in_words(left_s)} to go ({guessed}).")


def print_result(folder: Path, console: Console) -> None:
    for line in json.loads((folder / "report.json").read_text(encoding="utf-8"))["findings"]:
        console.print(f"- {line}")
    console.print(f"report: {folder / 'report.html'}")
