"""The cache of suggestions, in the language server and in the server.

A suggestion stays useful while the user types its first characters: the rest of it is still the answer. So a
lookup walks back from the cursor, and asks at every distance: was there a suggestion at this position that
begins with exactly the characters typed since?

How a position is identified depends on who shares the cache. In the server many clients do, so
`whole_text_key` hashes all the text around the cursor: only a client that has all of it can hit. The language
server has one user and knows the document, so `nearby_text_key` has the last lines before the cursor and the
first lines after it: an edit far away, or a window that moves, does not make the answer useless.

An editor that closes brackets itself changes the suffix while the user types: after `foo(` the suffix gains a
`)` that nobody typed. So a suggestion also fits the suffix without the closers that belong to the typed part.
The remaining text may then end with a closer that already stands right of the cursor; the client that inserts
the text must overwrite that closer.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

PREFIX_LINES = 8
PREFIX_CHARS = 1_000
SUFFIX_LINES = 4
KEY_SUFFIX_CHARS = 300
"""Limits of `nearby_text_key`. Shorter keys would be equal in repetitive code; longer ones would change on
scrolling."""

MAX_TYPED_CHARS = 400
"""Characters that a lookup walks back: nobody types 400 characters of one suggestion."""

CLOSER_OF = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'", "`": "`"}
_CLOSERS = "".join(CLOSER_OF.values())

_Key = str | bytes


@dataclass(frozen=True)
class CacheKey:
    """The cursor's position in the cache. Make it with `whole_text_key` or `nearby_text_key`.

    `before[n]` is the key of the prefix without its last n characters, of which `typed` ends with the last n.
    `after[n]` is the key of the suffix without its first n characters, which are `closers`.
    """

    salt: str
    typed: str
    closers: str
    before: Sequence[_Key]
    after: Sequence[_Key]


def whole_text_key(prefix: str, suffix: str, salt: str) -> CacheKey:
    """Return the key of the cursor between all of `prefix` and all of `suffix`: 0.2 ms for 100 kB.

    Only an equal `salt` finds a suggestion; it stands for all else that the suggestion came from.
    """
    typed, closers = prefix[-MAX_TYPED_CHARS:], _leading_closers(suffix)
    before = _hashes(prefix, len(typed))
    return CacheKey(salt, typed, closers, before, after=_hashes(suffix[::-1], len(closers)))


def nearby_text_key(prefix: str, suffix: str, salt: str) -> CacheKey:
    """Return the key of the lines around the cursor. `salt` must name the document, and what else counts."""
    window = prefix[-PREFIX_CHARS - MAX_TYPED_CHARS :]
    typed, closers = prefix[-MAX_TYPED_CHARS:], _leading_closers(suffix)
    before = [_prefix_tail(window[: len(window) - count]) for count in range(len(typed) + 1)]
    after = [suffix_head(suffix[count:]) for count in range(len(closers) + 1)]
    return CacheKey(salt, typed, closers, before, after)


@dataclass(frozen=True)
class Hit:
    """A suggestion that was found: its remaining `text`, after `typed` characters that the user has typed.

    `tag` is what the suggestion was stored with.
    """

    text: str
    typed: int
    tag: str = ""


@dataclass(frozen=True)
class _Known:
    after: _Key
    text: str
    tag: str


class CompletionCache:
    """Keep the `capacity` suggestions used last. An empty suggestion is stored, and found, like any other."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[tuple[str, _Key], _Known] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def put(self, key: CacheKey, text: str, tag: str = "") -> None:
        """Store `text` for the cursor at `key`. A hit returns `tag`, for example the completion's id."""
        beginning = (key.salt, key.before[0])
        self._known[beginning] = _Known(key.after[0], text, tag)
        self._known.move_to_end(beginning)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def get(self, key: CacheKey) -> Hit | None:
        """Return the nearest suggestion that the user is typing. One that was typed to its end is a miss."""
        for count, before in enumerate(key.before):
            beginning = (key.salt, before)
            known = self._known.get(beginning)
            if known is None:
                continue
            typed = key.typed[len(key.typed) - count :]
            if not known.text.startswith(typed) or (typed and len(known.text) == len(typed)):
                continue
            if known.after in (key.after[0], key.after[_added(key.closers, typed)]):
                self._known.move_to_end(beginning)
                return Hit(known.text[count:], count, known.tag)
        return None


def same_suffix(before: str, now: str, typed: str) -> bool:
    """Return True if `now` is the suffix `before`, apart from closers that an editor added for `typed`."""
    return suffix_head(before) in (suffix_head(now), suffix_head(now[_added(now, typed) :]))


def suffix_head(suffix: str) -> str:
    """Return the first lines of a suffix, which are part of `nearby_text_key`."""
    return "".join(suffix[:KEY_SUFFIX_CHARS].splitlines(keepends=True)[:SUFFIX_LINES])


def _prefix_tail(prefix: str) -> str:
    tail = prefix[-PREFIX_CHARS:]
    lines = tail.rsplit("\n", PREFIX_LINES)
    return tail[len(lines[0]) + 1 :] if len(lines) > PREFIX_LINES else tail


def _hashes(text: str, most: int) -> list[bytes]:
    """Return the hash of `text`, of `text` without its last character, and so on, `most` characters."""
    start = len(text) - most
    running = hashlib.sha256(text[:start].encode(errors="surrogatepass"))
    hashes = [running.digest()]
    for char in text[start:]:
        running.update(char.encode(errors="surrogatepass"))
        hashes.append(running.digest())
    return hashes[::-1]


def _leading_closers(suffix: str) -> str:
    start = suffix[:MAX_TYPED_CHARS]
    return start[: len(start) - len(start.lstrip(_CLOSERS))]


def _added(suffix: str, typed: str) -> int:
    """Return how many characters at the start of a suffix an editor may have added for `typed`."""
    added = 0
    for closer in _open_closers(typed):
        if not suffix.startswith(closer, added):
            break
        added += 1
    return added


def _open_closers(typed: str) -> str:
    """Return the closers that an editor would have added right of the cursor for `typed`, in their order."""
    waiting: list[str] = []
    for char in typed:
        if waiting and char == waiting[-1]:
            waiting.pop()
        elif char in CLOSER_OF:
            waiting.append(CLOSER_OF[char])
    return "".join(reversed(waiting))
