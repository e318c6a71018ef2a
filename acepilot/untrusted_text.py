"""Text of models and of other servers, made safe to show in an editor, a terminal and a log.

`printable` is for messages, `escaped` for what commands print. `HiddenCharacters` is for completions: it
drops characters that a reader of code cannot see, or that change what he sees. These are control characters
such as ESC, marks that change the direction of text (CVE-2021-42574, "Trojan Source"), zero-width characters,
and tags, which can hide a text.
"""

import re

MESSAGE_CHARS = 300
"""The longest message of another server that is shown: some three sentences."""

_RECENT_CHARS = 32
"""Characters before a piece that decide whether a hidden character in it belongs to an emoji. No emoji in use
has more than 10."""

_EMOJI = "[©®‼⁉™ℹ\u2190-\u21ff\u2300-\u27bf\u2900-\u297f\u2b00-\u2bff〰〽㊗㊙\U0001f000-\U0001faff]"
_STYLE = "[\ufe0e\ufe0f]"
_JOINED_SCRIPTS = (
    "[\u0600-\u061b\u061d-\u109f\u1780-\u17b3\u17b6-\u180a\u1810-\u18af\ua840-\ua8ff\ua980-\uabff"
    "\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff\U0001e900-\U0001e95f]"
)
"""Arabic to Myanmar, Khmer, Mongolian and their further blocks: words of Persian or Hindi, for example, are
spelled with a joiner or non-joiner after a letter."""

_HIDDEN = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls other than tab and line feed
    "\u2028\u2029\ufff9-\ufffb"  # line ends that editors do not show, and annotation marks
    # Unicode's Default_Ignorable_Code_Point: all that has no picture of its own.
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SPELLED = (
    rf"{_EMOJI}{_STYLE}?(?:\u200d{_EMOJI}{_STYLE}?)+|{_EMOJI}{_STYLE}"
    r"|[0-9#*]\ufe0f(?=\u20e3)"  # keycaps
    r"|\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"  # flags of England, Texas, ...
    rf"|{_JOINED_SCRIPTS}[\u200c\u200d]"
)
_FIND_HIDDEN = re.compile(_HIDDEN)
_FIND_SPELLED_OR_HIDDEN = re.compile(f"(?:{_SPELLED})|({_HIDDEN})")


def printable(text: str, max_chars: int = MESSAGE_CHARS) -> str:
    """Return a message as one line of printable characters, cut to `max_chars`."""
    shown = "".join(char if char.isprintable() else " " for char in text[: 4 * max_chars])
    line = " ".join(shown.split())
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def escaped(text: str) -> str:
    """Return lines for a terminal, in which a character that it might obey becomes `\\x1b`, for example."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def hidden_in(prefix: str, suffix: str) -> frozenset[str]:
    """Return the hidden characters that a document has: in 0.5 ms for 60 kB."""
    return frozenset(_FIND_HIDDEN.findall(prefix)).union(_FIND_HIDDEN.findall(suffix))


class HiddenCharacters:
    """Removes hidden characters from one completion, which may come in pieces.

    A hidden character stays if the document has it already, `known`, or if the spelling of an emoji or a word
    needs it. `prefix` is the text above the cursor. `known` comes from `hidden_in`: the completions of one
    request share it.
    """

    def __init__(self, prefix: str, known: frozenset[str]) -> None:
        self._known = known
        self._recent = prefix[-_RECENT_CHARS:]

    def visible(self, piece: str) -> str:
        """Return the text that `piece`, the next part of the completion, adds."""
        before, self._recent = self._recent, (self._recent + piece)[-_RECENT_CHARS:]
        # A hidden character at the end of `before` waits for the next one: that may complete an emoji.
        if not _FIND_HIDDEN.search(before[-8:] + piece):
            return piece
        return self._clean(before + piece)[len(self._clean(before)) :]

    def _clean(self, text: str) -> str:
        def kept(match: re.Match[str]) -> str:
            hidden = match.group(1)
            return match.group() if hidden is None or hidden in self._known else ""

        return _FIND_SPELLED_OR_HIDDEN.sub(kept, text)
