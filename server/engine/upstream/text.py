"""What an upstream server sends as text, made what the service expects: whole characters, no sentinels."""

import re
from collections.abc import Collection

DAMAGED = "\ufffd"
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAG = re.compile(r"</?[a-z]+>")


class CleanText:
    """One stream's text. After `ended`, a sentinel has come: what follows it is no completion any more.

    Servers leave out a model's special tokens, but not all, and not always. Those that read like a tag are
    let through: Vue has a `<s>` too, and text does not tell which one it was.
    """

    def __init__(self, special_tokens: Collection[str]) -> None:
        self.ended = False
        sentinels = sorted(token for token in special_tokens if token and not _TAG.fullmatch(token))
        self._found = re.compile("|".join(map(re.escape, sentinels)) or r"(?!)")
        self._beginnings = {token[:length] for token in sentinels for length in range(1, len(token))}
        self._longest = max(map(len, self._beginnings), default=0)
        self._held = ""

    def feed(self, fresh: str) -> str:
        """What of the text so far is certain. An end that may be half of something is held back."""
        text = _joined(self._held + fresh)
        self._held = ""
        sentinel = self._found.search(text)
        if sentinel:
            self.ended = True
            return text[: sentinel.start()].rstrip(DAMAGED)
        certain = len(text) - self._unsure(text)
        self._held = text[certain:]
        return text[:certain]

    def rest(self) -> str:
        """What was held back, at the end of the stream; half a character is dropped."""
        held, self._held = self._held, ""
        return _SURROGATE.sub("", held).rstrip(DAMAGED)

    def _unsure(self, text: str) -> int:
        """Length of the end that may be the first part of a sentinel or of a character."""
        whole = text.rstrip(DAMAGED)
        if whole != text:
            return len(text) - len(whole)
        if _SURROGATE.match(text[-1:]):
            return 1
        lengths = range(min(self._longest, len(text)), 0, -1)
        return next((length for length in lengths if text[-length:] in self._beginnings), 0)


def _joined(text: str) -> str:
    """JSON can carry a character as two surrogates, and servers send them one by one."""
    if not _SURROGATE.search(text):
        return text
    last = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
    whole = text[: len(text) - len(last)]
    return whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") + last
