"""dev.check_english finds refused phrases in pages, docstrings and comments, and names the line."""

import re

import pytest

from dev.check_english import RULES, Rule, check, english_in, long_sentences, paragraphs, read_rules

RULE = Rule(re.compile("so many"), "write the number")


def lines(texts: list[object]) -> list[str]:
    return [str(found) for found in texts]


def test_a_phrase_is_found_across_a_line_break() -> None:
    page = "# Title\n\nThere are so\nmany of them.\n\n- `so many`\n\n```sh\nso many\n```\n"
    found = check("page.md", list(paragraphs(page)), [RULE])
    assert lines([*found]) == ["page.md:3: “so many”: write the number"]


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('"""First.\n\nWait so many seconds.\n"""\n', 3),
        ('LIMIT = 3\n"""So, so many."""\n', 2),
        ("x = 1  # so many\n", 1),
        ('x = "so many"\n', None),
    ],
)
def test_docstrings_and_comments_are_read(source: str, line: int | None) -> None:
    found = [finding.line for finding in check("x.py", list(english_in(source)), [RULE])]
    assert found == ([line] if line else [])


def test_a_long_sentence_is_a_warning() -> None:
    text = f"Short. {'word ' * 50}end."
    assert lines([*long_sentences("page.md", list(paragraphs(text)))]) == [
        "page.md:1: warning: a sentence of 51 words"
    ]


def test_every_rule_is_read() -> None:
    assert all(rule.instead for rule in read_rules(RULES))
