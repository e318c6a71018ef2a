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

_RIGHT_TO_LEFT = (
    "[\u05d0-\u05f2\u0620-\u064a\u066e-\u06d3\u06fa-\u08c9\ufb1d-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc]"
)
_WITHOUT_SPACES = "[\u0e01-\u0eff\u1000-\u109f\u1780-\u17b3\u17b6-\u17ff]"
"""Thai, Lao, Burmese and Khmer: a zero-width space between two letters may end a word."""
_MONGOLIAN = "[\u1820-\u18aa]"
_IDEOGRAPH = "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
_FLAGS = "|".join(
    "".join(chr(0xE0000 + ord(letter)) for letter in region) for region in ("gbeng", "gbsct", "gbwls")
)
"""England, Scotland and Wales: tags after a black flag. Those of any other region could hide a text."""

_HIDDEN = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls other than tab and line feed
    "\u2028\u2029\ufff9-\ufffb"  # line ends that editors do not show, and annotation marks
    # Unicode's Default_Ignorable_Code_Point: all that has no picture of its own.
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    # Blank in most fonts: Braille's and music's empty signs, a filler, and controls of hieroglyphs.
    "\u2800\U0001d159\U00016fe4\U00013430-\U0001343f"
    # Private use, which each font shows in its own way, and noncharacters.
    "\ue000-\uf8ff\U000f0000-\U0010ffff\ufdd0-\ufdef\ufffe\uffff"
    + "".join(f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(1, 15))
    + "]"
)
_SPELLED = (
    rf"{_EMOJI}{_STYLE}?(?:\u200d{_EMOJI}{_STYLE}?)+|{_EMOJI}{_STYLE}"
    r"|[0-9#*]\ufe0f(?=\u20e3)"  # keycaps
    rf"|\U0001f3f4(?:{_FLAGS})\U000e007f"
    rf"|{_JOINED_SCRIPTS}[\u200c\u200d]"
    rf"|{_WITHOUT_SPACES}\u200b(?={_WITHOUT_SPACES})"
    rf"|{_RIGHT_TO_LEFT}[\u200e\u200f]|[\u200e\u200f](?={_RIGHT_TO_LEFT})"
    rf"|{_MONGOLIAN}(?:[\u180b-\u180d\u180f]|\u180e(?={_MONGOLIAN}))"
    rf"|{_IDEOGRAPH}[\ufe00-\ufe0f\U000e0100-\U000e01ef]"  # variants of a character, as in Japanese names
)
_FIND_HIDDEN = re.compile(_HIDDEN)
_TAGS = frozenset(map(chr, range(0xE0000, 0xE0080)))
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
    """Return the hidden characters that a document has: in 0.5 ms for 60 kB.

    Tags are not among them. Some of a flag's tags would stay before it is known that all of them do.
    """
    return frozenset(_FIND_HIDDEN.findall(prefix)).union(_FIND_HIDDEN.findall(suffix)) - _TAGS


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
