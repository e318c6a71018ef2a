"""What was suggested, kept for as long as it can still be true: a step of the keystroke flow.

A suggestion answers more than the place it was made for: whoever types its first characters has a use for the
rest. So a lookup walks back from the cursor, and asks for every distance: was there a suggestion here that
begins with just what was typed since?

A place is known by its *last* lines before the cursor and its *first* lines after it, with all their white
space. The far ends are left out on purpose: the window that an editor sends slides while one scrolls and
types, and what lies 200 lines above says nothing that these lines, the path and the language do not.

Brackets: an editor that closes them by itself changes the suffix while one types. After `foo(` the suffix
gains a `)` that nobody typed. A lookup therefore tries the suffix as it is and, where the typed part left
brackets or quotes open, the suffix without the closers that answer them. The remaining text may then end with
a closer that stands right of the cursor already; whoever inserts it must write over that one.
"""

from collections import OrderedDict
from dataclasses import dataclass

PREFIX_LINES = 8
PREFIX_CHARS = 1_000
SUFFIX_LINES = 4
KEY_SUFFIX_CHARS = 300
MAX_TYPED_CHARS = 400
"""How far back a lookup walks. Nobody types 400 characters of one suggestion."""

CLOSER_OF = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'", "`": "`"}

_Key = tuple[str, str, str]


@dataclass(frozen=True)
class Hit:
    """`text` remains to be offered; `typed` characters of the suggestion were typed already (0: exact)."""

    text: str
    typed: int
    tag: str = ""
    """What the suggestion was put with."""


class CompletionCache:
    """The last `capacity` suggestions, least recently used out first. An empty one is an answer, too."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[_Key, tuple[str, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def put(self, prefix: str, suffix: str, salt: str, text: str, tag: str = "") -> None:
        """Remember `text` for the cursor between the two. `salt`: path, language, model, mode.

        A hit gives `tag` back, such as the completion's id.
        """
        key = (salt, _prefix_tail(prefix), suffix_head(suffix))
        self._known[key] = (text, tag)
        self._known.move_to_end(key)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def get(self, prefix: str, suffix: str, salt: str) -> Hit | None:
        """The nearest suggestion that what was typed since follows. Typed to its end, it is a miss."""
        prefix = prefix[-PREFIX_CHARS - MAX_TYPED_CHARS :]
        for typed_chars in range(min(len(prefix), MAX_TYPED_CHARS) + 1):
            before = prefix[: len(prefix) - typed_chars]
            typed = prefix[len(before) :]
            tail = _prefix_tail(before)
            for head in _heads(suffix, typed):
                key = (salt, tail, head)
                if (known := self._known.get(key)) is None:
                    continue
                text, tag = known
                if not text.startswith(typed) or (typed and len(text) == len(typed)):
                    continue
                self._known.move_to_end(key)
                return Hit(text[typed_chars:], typed_chars, tag)
        return None


def same_suffix(before: str, now: str, typed: str) -> bool:
    """True when `now` is the suffix `before`, apart from closers that an editor added for `typed`."""
    return suffix_head(before) in _heads(now, typed)


def suffix_head(suffix: str) -> str:
    """The first lines of a suffix: what tells one place from another."""
    return "".join(suffix[:KEY_SUFFIX_CHARS].splitlines(keepends=True)[:SUFFIX_LINES])


def _prefix_tail(prefix: str) -> str:
    return "".join(prefix[-PREFIX_CHARS:].splitlines(keepends=True)[-PREFIX_LINES:])


def _heads(suffix: str, typed: str) -> list[str]:
    """The suffix heads under which a suggestion may have been kept, before `typed` was typed."""
    expected = _open_closers(typed)
    added = 0
    while added < min(len(expected), len(suffix)) and suffix[added] == expected[added]:
        added += 1
    return [suffix_head(suffix[count:]) for count in ((0, added) if added else (0,))]


def _open_closers(typed: str) -> str:
    """The closers that an editor would have put right of the cursor for `typed`, in their order."""
    waiting: list[str] = []
    for char in typed:
        if waiting and char == waiting[-1]:
            waiting.pop()
        elif char in CLOSER_OF:
            waiting.append(CLOSER_OF[char])
    return "".join(reversed(waiting))
