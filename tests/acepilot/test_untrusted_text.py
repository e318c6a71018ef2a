"""Texts of models and servers: hidden characters, messages, and what a terminal gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acepilot.untrusted_text import HiddenCharacters, escaped, hidden_in, printable

CHARS = "ab1# \n\t\r\x1b\u200b\u200c\u200d\u202e\ufe0f\u20e3👩💻❤🏴\U000e0067\U000e0062\U000e0065\U000e007fमक्"
texts = st.text(CHARS, max_size=24)


def hidden_characters(prefix: str, suffix: str) -> HiddenCharacters:
    return HiddenCharacters(prefix, hidden_in(prefix, suffix))


SCRIPTS = [
    "ភាសា\u200bខ្មែរ",
    "สวัสดี\u200bครับ",
    "ສະ\u200bບາຍ",
    "မြန်\u200bမာ",
    "שלום\u200f (x)",
    "\u200eسلام\u200e",
    "\u182d\u180b\u1820\u180e\u1820",
    "葛\U000e0100城",
    "神\ufe00",
]


@pytest.mark.parametrize(
    "text",
    [
        "👩🏽‍💻",
        "👨‍👩‍👧‍👦",
        "❤️",
        "🏳️‍🌈",
        "🙂‍↔️",
        "👁️‍🗨️",
        "1️⃣",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "می‌خواهم",
        "क्‍ष",
        "זה",
        "漢字",
        "a\tb\n",
        *SCRIPTS,
    ],
)
def test_what_spelling_needs_stays(text: str) -> None:
    assert hidden_characters("", "").visible(text) == text


@pytest.mark.parametrize(
    "char",
    [
        "\x00",
        "\x1b",
        "\x85",
        "\xad",
        "\u200d",
        "\u202e",
        "\u3164",
        "\ufe0f",
        "\u2800",
        "\ue000",
        "\U0010ffff",
    ],
)
def test_a_hidden_character_stays_only_if_the_document_has_it(char: str) -> None:
    assert hidden_characters("x", "y").visible(f"a{char}b") == "ab"
    assert hidden_characters(f"x{char}", "y").visible(f"a{char}b") == f"a{char}b"
    assert hidden_characters("x", f"y{char}").visible(f"a{char}b") == f"a{char}b"


@given(texts, texts, texts, st.data())
def test_pieces_do_not_matter_and_nothing_changes_twice(
    prefix: str, text: str, suffix: str, data: st.DataObject
) -> None:
    ends = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    whole = hidden_characters(prefix, suffix).visible(text)
    hidden = hidden_characters(prefix, suffix)
    pieces = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    assert "".join(hidden.visible(piece) for piece in pieces) == whole
    assert hidden_characters(prefix, suffix).visible(whole) == whole


def test_messages_are_one_printable_line() -> None:
    assert printable("a\x1b[2J\r\n\tb\u202e  c") == "a [2J b c"
    assert printable("x" * 10**7, 10) == "x" * 9 + "…"
    assert printable("Größe: 漢字") == "Größe: 漢字"


def test_a_terminal_gets_lines_without_controls() -> None:
    assert escaped("a\n\tb\x1b]0;x\x07\udcff") == "a\n\tb\\x1b]0;x\\x07\\udcff"


BLANK = "\u2800\U0001d159\U00016fe4\U00013430\U0001343f\ue000\uf8ff\U000f0000\ufdd0\ufffe\U0001ffff"
OUT_OF_PLACE = "\u200b\u200e\u180b\ufe00"


@pytest.mark.parametrize("char", BLANK + OUT_OF_PLACE)
def test_what_most_fonts_show_as_nothing_is_hidden_between_latin_letters(char: str) -> None:
    assert hidden_characters("", "").visible(f"a{char}b") == "ab"


def tags(letters: str) -> str:
    return "".join(chr(0xE0000 + ord(letter)) for letter in letters) + "\U000e007f"


def test_a_flag_carries_no_other_text_and_is_not_misspelled_in_pieces() -> None:
    assert hidden_characters("", "").visible("🏴" + tags("secret")) == "🏴"
    for document in ("", tags("b"), tags("eng")):
        hidden = hidden_characters(document, "")
        flag = "🏴" + tags("gbeng")
        assert "".join(hidden.visible(char) for char in flag + "x") == flag + "x"
