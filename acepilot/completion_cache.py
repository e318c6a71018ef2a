"""The cache of suggestions, in the language server and in the server.

A suggestion stays useful while the user types its first characters: the rest of it is still the answer. So a
lookup walks back from the cursor, and asks at every distance: was there a suggestion at this position that
begins with exactly the characters typed since?

The key of a position is the *last* lines before the cursor and the *first* lines after it, with all their
white space. Lines further away are left out, because the window that an editor sends moves while the user
scrolls and types.

An editor that closes brackets itself changes the suffix while the user types: after `foo(` the suffix gains a
`)` that nobody typed. So a lookup tries the suffix as it is and, if the typed part left brackets or quotes
open, the suffix without the closers that belong to them. The remaining text may then end with a closer that
already stands right of the cursor; the client that inserts the text must overwrite that closer.
"""

from collections import OrderedDict
from dataclasses import dataclass

PREFIX_LINES = 8
PREFIX_CHARS = 1_000
SUFFIX_LINES = 4
KEY_SUFFIX_CHARS = 300
"""Limits of a key. Shorter keys would be equal in repetitive code; longer ones would change on scrolling."""

MAX_TYPED_CHARS = 400
"""Characters that a lookup walks back: nobody types 400 characters of one suggestion."""

CLOSER_OF = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'", "`": "`"}

_Key = tuple[str, str, str]


@dataclass(frozen=True)
class Hit:
    """A suggestion that was found: its remaining `text`, after `typed` characters that the user has typed.

    `tag` is what the suggestion was stored with.
    """

    text: str
    typed: int
    tag: str = ""


class CompletionCache:
    """Keep the `capacity` suggestions used last. An empty suggestion is stored, and found, like any other."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[_Key, tuple[str, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def put(self, prefix: str, suffix: str, salt: str, text: str, tag: str = "") -> None:
        """Store `text` for the cursor between `prefix` and `suffix`.

        `salt` is a text of path, language, model and mode; only an equal `salt` finds the suggestion. A hit
        returns `tag`, for example the completion's id.
        """
        key = (salt, _prefix_tail(prefix), suffix_head(suffix))
        self._known[key] = (text, tag)
        self._known.move_to_end(key)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def get(self, prefix: str, suffix: str, salt: str) -> Hit | None:
        """Return the nearest suggestion that the user is typing. One that was typed to its end is a miss."""
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
    """Return True if `now` is the suffix `before`, apart from closers that an editor added for `typed`."""
    return suffix_head(before) in _heads(now, typed)


def suffix_head(suffix: str) -> str:
    """Return the first lines of a suffix, which are part of the key."""
    return "".join(suffix[:KEY_SUFFIX_CHARS].splitlines(keepends=True)[:SUFFIX_LINES])


def _prefix_tail(prefix: str) -> str:
    return "".join(prefix[-PREFIX_CHARS:].splitlines(keepends=True)[-PREFIX_LINES:])


def _heads(suffix: str, typed: str) -> list[str]:
    """Return the suffix heads under which a suggestion may be stored that was made before `typed`."""
    expected = _open_closers(typed)
    added = 0
    while added < min(len(expected), len(suffix)) and suffix[added] == expected[added]:
        added += 1
    return [suffix_head(suffix[count:]) for count in ((0, added) if added else (0,))]


def _open_closers(typed: str) -> str:
    """Return the closers that an editor would have added right of the cursor for `typed`, in their order."""
    waiting: list[str] = []
    for char in typed:
        if waiting and char == waiting[-1]:
            waiting.pop()
        elif char in CLOSER_OF:
            waiting.append(CLOSER_OF[char])
    return "".join(reversed(waiting))
