"""Turns a sequence's tokens into text as they come."""

from collections.abc import Callable


class TextStream:
    """Tokens in, text out. A character whose bytes span several tokens is held back until it is complete.

    Tokens are decoded together with those before them, at first the prompt's last token (`before`), because
    some tokenizers drop a space at the beginning of a text.
    """

    def __init__(self, decode: Callable[[list[int]], str], before: int) -> None:
        self._decode = decode
        self._known = [before]
        self._new: list[int] = []

    def add(self, token_ids: list[int], *, last: bool) -> str:
        self._new += token_ids
        known = self._decode(self._known)
        text = self._decode(self._known + self._new)
        if len(text) <= len(known) or (text.endswith("\ufffd") and not last):
            return ""
        self._known, self._new = self._new, []
        return text[len(known) :].rstrip("\ufffd") if last else text[len(known) :]
