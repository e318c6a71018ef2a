"""Makes the text of an upstream server what the service expects: whole characters, and no sentinels."""

import re
from collections.abc import Collection

DAMAGED = "\ufffd"
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAG = re.compile(r"</?[a-z]+>")


class CleanText:
    """The text of one stream up to its first sentinel. `ended` is true once a sentinel has come.

    Servers leave out most special tokens of a model, but not always all. A special token that reads like a
    tag passes: Vue has a `<s>` too, and from the text nobody can tell which of the two it was.
    """

    def __init__(self, special_tokens: Collection[str]) -> None:
        self.ended = False
        sentinels = sorted(token for token in special_tokens if token and not _TAG.fullmatch(token))
        self._found = re.compile("|".join(map(re.escape, sentinels)) or r"(?!)")
        self._beginnings = {token[:length] for token in sentinels for length in range(1, len(token))}
        self._longest = max(map(len, self._beginnings), default=0)
        self._held = ""

    def feed(self, new_text: str) -> str:
        """Return the complete text. An end that may be part of a sentinel or of a character is held back."""
        text = _joined(self._held + new_text)
        self._held = ""
        sentinel = self._found.search(text)
        if sentinel:
            self.ended = True
            return text[: sentinel.start()].rstrip(DAMAGED)
        complete = len(text) - self._incomplete(text)
        self._held = text[complete:]
        return text[:complete]

    def rest(self) -> str:
        """Return the text held back, at the end of the stream, without half a character."""
        held, self._held = self._held, ""
        return _SURROGATE.sub("", held).rstrip(DAMAGED)

    def _incomplete(self, text: str) -> int:
        """Return the length of the end that may be the first part of a sentinel or of a character."""
        whole = text.rstrip(DAMAGED)
        if whole != text:
            return len(text) - len(whole)
        if _SURROGATE.match(text[-1:]):
            return 1
        lengths = range(min(self._longest, len(text)), 0, -1)
        return next((length for length in lengths if text[-length:] in self._beginnings), 0)


def _joined(text: str) -> str:
    """Join surrogates: JSON may carry a character as two of them, and servers send each on its own."""
    if not _SURROGATE.search(text):
        return text
    last = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
    whole = text[: len(text) - len(last)]
    return whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") + last
