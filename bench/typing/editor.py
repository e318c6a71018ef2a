"""A simulated developer at an editor, in real time: types a trace, sees ghost text, and accepts it if it is
right.

Every contestant meets the same developer; only the `Assistant` differs. As in VS Code, every key sends a new
request and cancels the one before, and ghost text stays in sight while it is typed along. A *pause* is a gap
of at least 500 ms. Its *time to ghost text* runs from the key before the pause until ghost text stands at the
cursor; it is 0 if the text stands there already. The developer's clock stops until the answer arrives or
`PATIENCE_S` is over, so that slow contestants are measured at the same places. The text counts as *in time*,
and can be accepted, only if it stood there before the next key was due.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from acepilot.errors import AcepilotError
from bench.typing.traces import PAUSE_MS, Trace

PATIENCE_S = 20.0
"""Seconds after which a developer gives up waiting for an answer in a pause."""
READING_S = 0.25
"""Seconds that a developer reads ghost text before he presses Tab."""
SHORTEST_TAKEN = 4
"""The fewest characters that a developer accepts of an unfinished line; whole words only."""


class Assistant(Protocol):
    """What makes suggestions: our language server, or a peer's client."""

    async def open(self, name: str, language: str, before: str, after: str) -> None:
        """Show a file, with the cursor between the two texts."""
        ...

    def insert(self, text: str) -> None: ...

    def delete(self) -> None:
        """Delete the character before the cursor."""
        ...

    async def ask(self) -> str:
        """Return ghost text for the cursor, or "" for none. Cancelling it cancels the request. Raises
        NoAnswer.
        """
        ...

    async def close(self) -> None:
        """Close the file."""
        ...


class NoAnswer(AcepilotError):
    """The assistant failed, refused or gave up. Having nothing to suggest is not a failure."""

    code = "no_answer"


@dataclass(frozen=True)
class Pause:
    """One pause. `waited_s` is the time to the answer.

    `answered`: the answer came before the developer gave up. `shown`: it had ghost text.
    """

    place: str
    gap_s: float
    waited_s: float
    answered: bool
    shown: bool
    taken_chars: int

    @property
    def in_time(self) -> bool:
        return self.shown and self.waited_s <= self.gap_s


@dataclass
class Session:
    """The counts of one developer."""

    keystrokes: int = 0
    asked: int = 0
    taken: int = 0
    kept_chars: int = 0
    pauses: list[Pause] = field(default_factory=list[Pause])


class Developer:
    """Type traces into one assistant, and wait up to `patience_s` for its answers in pauses."""

    def __init__(self, assistant: Assistant, session: Session, patience_s: float = PATIENCE_S) -> None:
        self._assistant = assistant
        self._session = session
        self._patience_s = patience_s
        self._pressed_at = 0.0
        self._ghost = ""
        self._request: asyncio.Task[str] | None = None

    async def work(self, traces: Sequence[Trace]) -> None:
        for trace in traces:
            await self._assistant.open(trace.name, trace.language, trace.before, trace.after)
            self._ghost = ""
            self._ask()
            try:
                await self._type(trace)
            finally:
                self._cancel_request()
            await self._assistant.close()

    async def _type(self, trace: Trace) -> None:
        typed, offset = trace.typed, 0
        while offset < len(typed):
            for key in trace.keys_at(offset):
                taken = await self._wait(key.gap_ms / 1000, typed[offset:], f"{trace.name}:{offset}")
                if taken:
                    self._insert(typed[offset : offset + taken])
                    offset += taken
                    break
                self._session.keystrokes += 1
                if not key.text:
                    self._assistant.delete()
                    self._ghost = ""
                    self._ask()
                    continue
                self._insert(key.text)
                if typed.startswith(key.text, offset):
                    offset += len(key.text)

    async def _wait(self, gap_s: float, remaining: str, place: str) -> int:
        """Wait for the next key; in a pause, return how many characters of ghost text are accepted."""
        due = self._pressed_at + gap_s
        if gap_s * 1000 < PAUSE_MS:
            await _sleep_until(due)
            self._look()
            return 0
        waited_s, answered = await self._pause()
        take_at = self._pressed_at + waited_s + READING_S
        taken = taken_length(self._ghost, remaining) if take_at <= due else 0
        self._session.pauses.append(Pause(place, gap_s, waited_s, answered, bool(self._ghost), taken))
        self._session.taken += bool(taken)
        self._session.kept_chars += taken
        await _sleep_until(take_at if taken else due)
        return taken

    async def _pause(self) -> tuple[float, bool]:
        """Return the seconds from the last key to the answer, and whether there was one."""
        if self._ghost or self._request is None:
            return 0.0, True
        left_s = self._pressed_at + self._patience_s - time.perf_counter()
        await asyncio.wait([self._request], timeout=max(left_s, 0))
        waited_s = min(time.perf_counter() - self._pressed_at, self._patience_s)
        if not self._request.done() or isinstance(self._request.exception(), NoAnswer):
            return self._patience_s, False
        self._look()
        return waited_s, True

    def _look(self) -> None:
        """Show an answer that has arrived, once."""
        if self._request is None or not self._request.done():
            return
        request, self._request = self._request, None
        self._ghost = "" if isinstance(request.exception(), NoAnswer) else request.result()

    def _insert(self, text: str) -> None:
        self._look()
        self._assistant.insert(text)
        self._ghost = self._ghost.removeprefix(text) if self._ghost.startswith(text) else ""
        self._ask()

    def _ask(self) -> None:
        self._cancel_request()
        self._pressed_at = time.perf_counter()
        self._session.asked += 1
        self._request = asyncio.create_task(self._assistant.ask())

    def _cancel_request(self) -> None:
        if self._request is None:
            return
        if self._request.done():
            self._request.exception()  # asyncio would report an exception that is never read
        self._request.cancel()
        self._request = None


def taken_length(ghost: str, remaining: str) -> int:
    """Return how many characters of `ghost` a developer accepts when `remaining` is to be written.

    That is the longest of these which is exactly what comes next: all of it, its first whole lines, or its
    first words of at least SHORTEST_TAKEN characters together. Editors have a key for each.
    """
    same = 0
    while same < min(len(ghost), len(remaining)) and ghost[same] == remaining[same]:
        same += 1
    for end in range(same, 0, -1):
        if not ghost[:end].strip():
            break
        is_whole = end == len(ghost) or ghost[end] == "\n"
        is_words = end >= SHORTEST_TAKEN and not ghost[end - 1].isspace() and _parts_words(ghost, end)
        if (is_whole or is_words) and _parts_words(remaining, end):
            return end
    return 0


def _parts_words(text: str, at: int) -> bool:
    """Return whether `at` is not inside a word."""
    return at >= len(text) or not (_is_word(text[at - 1]) and _is_word(text[at]))


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(moment - time.perf_counter(), 0))
