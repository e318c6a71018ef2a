"""Secrets without quotes: configuration files, shells, headers, command lines."""

import re
from collections.abc import Iterator
from functools import cache

from finetune.corpus.cleaning.secrets.names import Kind, kind_of
from finetune.corpus.cleaning.secrets.values import Spans, is_placeholder, looks_chosen, looks_random

_LITERAL = frozenset({"bash", "dockerfile", "make", "plaintext", "powershell", "toml", "yaml"})
"""Languages in which a bare word is a text. Elsewhere it is a variable, a type or prose."""
_SHELL_LIKE = frozenset({"bash", "dockerfile", "yaml"})
_NAMED_ENTROPY, _ANYWHERE_ENTROPY = 2.5, 3.0  # bits a character
_CHARS_BEFORE, _CHARS_BEHIND = 200, 600
"""How much of a long line around a name is read; a value has up to 300 characters."""

_VALUE = r"[^\s\"'`;|<>(){}\[\],*&!@%#][^\s\"'`;|<>(){}\[\],]{3,300}"
_END = r"(?=[\s\"'`;|)\]]|$)"
_LINE = re.compile(
    r"^[ \t]*(?:-[ \t]|export |set |\$env:)?[\"']?([A-Za-z_:][\w.:-]{1,80})[\"']?"
    rf"[ \t]{{0,20}}(:=|\?=|=|:)[ \t]{{0,20}}({_VALUE})[ \t]{{0,20}}(?:#.{{0,200}})?\r?$",
    re.MULTILINE,
)
_ENV = re.compile(rf"^[ \t]*(?:ENV|ARG) (\w{{2,80}})[ =]({_VALUE})", re.MULTILINE)
_UPPER_CASE = re.compile(rf"(?<!\w)([A-Z][A-Z0-9_]{{2,60}})=({_VALUE}){_END}", re.MULTILINE)
_LOWER_CASE = re.compile(rf"(?<!\w)(?:[\w-]{{1,30}}=)?([a-z][\w-]{{2,60}})=({_VALUE}){_END}", re.MULTILINE)
_DEFAULT = re.compile(r"\$\{([A-Za-z_][\w.-]{1,60})(?::?[-=]|:)([^\s\"'`${}]{4,200})\}")
_NAME_AND_VALUE = re.compile(
    rf"name: [\"']?([A-Za-z_]\w{{1,80}})[\"']?\r?\n[ \t]{{0,40}}value: ({_VALUE})[ \t]{{0,20}}\r?$",
    re.MULTILINE,
)
_ELEMENT = re.compile(r"<([A-Za-z][\w.:-]{1,60})>([^<>\s]{4,300})</")
_NAMED_ELEMENT = re.compile(r"<\w{2,20} name=\"([\w.:-]{2,60})\"[^<>]{0,60}>([^<>\s]{4,300})</")
_PROPERTY_LIST = re.compile(r"<key>([\w.:-]{2,60})</key>\s{0,40}<string>([^<>\s]{4,300})</")
_FLAG = re.compile(rf"--([a-z][a-z.-]{{1,60}})(?:=| {{1,2}})[\"']?({_VALUE})")
_COLON = re.compile(r"(?<![\w:./-])([A-Za-z][\w-]{2,60}): ?([\w.~+/=-]{16,300})(?=[\s\"'`]|$)", re.MULTILINE)

_COMMANDS = (
    ("sshpass", rf"sshpass {{1,3}}-p ?[\"']?({_VALUE})"),
    ("mysql", rf"\bmysql\w{{0,10}}\b[^\n|;]{{0,120}} -p[\"']?({_VALUE})"),
    (
        "login",
        rf"\b(?:docker|podman|helm|az|oc)\b[^\n|;]{{0,60}} login [^\n|;]{{0,120}}-p[ =]?[\"']?({_VALUE})",
    ),
    ("sudo", r"\becho [\"']?([^\s\"'`$|]{4,100})[\"']? ?\| ?sudo -S"),
    ("chpasswd", r"\b[\w.-]{1,40}:([^\s\"'`$|]{4,100})[\"']? ?\| ?(?:sudo )?chpasswd"),
    ("pass:", r"-pass(?:in|out|word)? pass:([^\s\"'`$|]{4,100})"),
    ("send", r"assword[^\n]{0,20}\n[ \t]{0,20}send (?:-- )?\"([^\"\\\n$]{4,60})\\[rn]"),
    ("curl", r"\bcurl\b[^\n|;]{0,160} (?:-u|--user)[ =]?[\"']?[^\s:\"'$]{1,60}:([^\s\"'`$]{4,100})"),
    ("password", rf"\b(?:login|user|account)\s{{1,20}}\S{{1,80}}\s{{1,20}}password\s{{1,20}}({_VALUE})"),
    (":", r"^(?:[\w.-]{1,100}|\*):(?:\d{1,5}|\*):(?:[\w-]{1,60}|\*):(?:[\w-]{1,60}|\*):([^\s:]{4,100})$"),
)
"""A text that every match has, and the pattern, whose group is a password."""
_SCHEMES = tuple(
    re.compile(rf"{word} ([\w.~+/=-]{{16,600}})(?![\w.~+/=-])") for word in ("earer", "asic", "oken")
)
"""Of the Authorization header, without the first letter, which may be a capital."""


def find_bare(text: str, mentions: list[int], language: str) -> Spans:
    """Yield the spans of secrets without quotes.

    `mentions` is of `mentions_in`; `language` is an id of acepilot.languages, or "".
    """
    literal = language in _LITERAL
    named = [_ENV, _UPPER_CASE, _DEFAULT, _NAME_AND_VALUE, _ELEMENT, _NAMED_ELEMENT, _PROPERTY_LIST, _FLAG]
    for start, end in _lines_of(text, mentions):
        if literal:
            for match in _LINE.finditer(text, start, end):
                name, separator, value = match.groups()
                # In a plain text, `password: required` is prose; there and in TOML, `=` assigns.
                words = language == "yaml" or separator != ":"
                if _is_secret(kind_of(name), value, plain_words=words):
                    yield match.span(3)
        for pattern in [*named, _LOWER_CASE] if language in _SHELL_LIKE else named:
            for match in pattern.finditer(text, start, end):
                plain_words = literal and pattern not in (_LOWER_CASE, _FLAG)
                if _is_secret(kind_of(match.group(1)), match.group(2), plain_words=plain_words):
                    yield match.span(2)
        for match in _COLON.finditer(text, start, end):
            name, value = match.groups()
            mentioned = kind_of(name) is not Kind.NONE and not is_placeholder(value)
            if mentioned and looks_random(value, _ANYWHERE_ENTROPY):
                yield match.span(2)
    for scheme in _SCHEMES:
        for match in scheme.finditer(text):
            if looks_random(match.group(1), _ANYWHERE_ENTROPY):
                yield match.span(1)
    for guard, pattern in _commands():
        if guard in text:
            for match in pattern.finditer(text):
                if not is_placeholder(match.group(1)) and looks_chosen(match.group(1)):
                    yield match.span(1)


def _lines_of(text: str, mentions: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the lines with a mention, each with the next line, and neighbours as one. Long lines are cut."""
    start = end = 0
    for mention in mentions:
        if mention < end and mention + _CHARS_BEHIND // 2 < end:
            continue
        line_start = max(
            text.rfind("\n", max(mention - _CHARS_BEFORE, 0), mention) + 1, mention - _CHARS_BEFORE, 0
        )
        limit = min(mention + _CHARS_BEHIND, len(text))
        line_end = text.find("\n", mention, limit)
        next_end = text.find("\n", line_end + 1, limit) if line_end >= 0 else -1
        line_end = next_end if next_end >= 0 else limit
        if line_start > end:
            if end:
                yield start, end
            start = line_start
        end = max(end, line_end)
    if end:
        yield start, end


def _is_secret(kind: Kind, value: str, *, plain_words: bool) -> bool:
    if kind is Kind.NONE or is_placeholder(value):
        return False
    if kind is Kind.SECRET:
        return looks_random(value, _NAMED_ENTROPY)
    return looks_chosen(value) or (plain_words and value.isalpha())


@cache
def _commands() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((guard, re.compile(pattern, re.MULTILINE)) for guard, pattern in _COMMANDS)
