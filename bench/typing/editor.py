"""A developer at an editor, in real time: types a trace, sees ghost text, takes it where it is right.

The same for every contestant; what differs is the `Assistant`. As VS Code does it, every key asks anew and
withdraws the question before, and ghost text stays in sight while one types along it. A *pause* is a gap of
at least 500 ms. Its *time to ghost text* runs from the key before it until ghost text stands at the cursor,
and is 0 where it stands there already. The developer's clock stands still until the answer has come, or for
`PATIENCE_S`: so slow contestants have a time too, at the same places as the others. But the text counts as
*in time*, and can be taken, only if it stood there before the next key was due.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from acepilot.errors import AcepilotError
from bench.typing.traces import PAUSE_MS, Trace

PATIENCE_S = 20.0
READING_S = 0.25
"""Between ghost text and the hand on Tab."""
SHORTEST_TAKEN = 4
"""Characters for which one takes less than a line: whole words only."""


class Assistant(Protocol):
    """What suggests: our language server, or a peer's client in an editor."""

    async def open(self, name: str, language: str, before: str, after: str) -> None:
        """A file is shown, with the cursor between the two texts."""
        ...

    def insert(self, text: str) -> None: ...

    def delete(self) -> None:
        """The character before the cursor goes."""
        ...

    async def ask(self) -> str:
        """Ghost text for the cursor, or "" for none. Cancelling it withdraws it. Raises NoAnswer."""
        ...

    async def close(self) -> None:
        """The file is closed."""
        ...


class NoAnswer(AcepilotError):
    """The assistant failed, refused or gave up: that is not the same as having nothing to say."""

    code = "no_answer"


@dataclass(frozen=True)
class Pause:
    """`waited_s` until the answer, at most PATIENCE_S; `answered` before that; `shown`: with ghost text."""

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
    """What was seen and done."""

    keystrokes: int = 0
    asked: int = 0
    taken: int = 0
    kept_chars: int = 0
    pauses: list[Pause] = field(default_factory=list[Pause])


class Developer:
    """Types traces into one assistant."""

    def __init__(self, assistant: Assistant, session: Session) -> None:
        self._assistant = assistant
        self._session = session
        self._pressed_at = 0.0
        self._ghost = ""
        self._question: asyncio.Task[str] | None = None

    async def work(self, traces: Sequence[Trace]) -> None:
        for trace in traces:
            await self._assistant.open(trace.name, trace.language, trace.before, trace.after)
            self._ghost = ""
            self._ask()
            try:
                await self._type(trace)
            finally:
                self._withdraw()
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
        """Until the next key is due, or, in a pause, until ghost text is taken: its characters."""
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
        """Seconds from the last key to the answer, and whether there was one."""
        if self._ghost or self._question is None:
            return 0.0, True
        left_s = self._pressed_at + PATIENCE_S - time.perf_counter()
        await asyncio.wait([self._question], timeout=max(left_s, 0))
        waited_s = min(time.perf_counter() - self._pressed_at, PATIENCE_S)
        if not self._question.done() or isinstance(self._question.exception(), NoAnswer):
            return PATIENCE_S, False
        self._look()
        return waited_s, True

    def _look(self) -> None:
        """An answer that has come replaces what is shown, once."""
        if self._question is None or not self._question.done():
            return
        question, self._question = self._question, None
        self._ghost = "" if isinstance(question.exception(), NoAnswer) else question.result()

    def _insert(self, text: str) -> None:
        self._look()
        self._assistant.insert(text)
        self._ghost = self._ghost.removeprefix(text) if self._ghost.startswith(text) else ""
        self._ask()

    def _ask(self) -> None:
        self._withdraw()
        self._pressed_at = time.perf_counter()
        self._session.asked += 1
        self._question = asyncio.create_task(self._assistant.ask())

    def _withdraw(self) -> None:
        if self._question is None:
            return
        if self._question.done():
            self._question.exception()  # one that nobody has looked at would be reported
        self._question.cancel()
        self._question = None


def taken_length(ghost: str, remaining: str) -> int:
    """How much of `ghost` a developer takes who is about to write `remaining`.

    All of it, or its first whole lines, or its first words of at least SHORTEST_TAKEN characters together:
    the longest of these that is just what comes next. Editors have a key for each.
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
    """Whether a word ends or begins at `at`, or none is there."""
    return at >= len(text) or not (_is_word(text[at - 1]) and _is_word(text[at]))


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(moment - time.perf_counter(), 0))
