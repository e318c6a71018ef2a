"""Secrets without quotes: configuration files, shells, headers, command lines."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import chain

from finetune.corpus.cleaning.secrets.names import Kind, kind_of
from finetune.corpus.cleaning.secrets.values import Spans, is_placeholder, is_uuid, looks_chosen, looks_random

_LITERAL = frozenset({"bash", "dockerfile", "make", "plaintext", "powershell", "toml", "yaml"})
"""Languages in which a bare word is a text. Elsewhere it is a variable, a type or prose."""
_SHELL_LIKE = frozenset({"bash", "dockerfile", "yaml"})
_NAMED_ENTROPY, _ANYWHERE_ENTROPY = 2.5, 3.0  # bits a character
_CHARS_BEFORE, _CHARS_BEHIND = 200, 600
"""How much of a long line around a name is read; a value has up to 300 characters."""

_VALUE = r"[^\s\"'`;|<>(){}\[\],*&!@%#][^\s\"'`;|<>(){}\[\],]{3,300}"
_END = r"(?=[\s\"'`;|)\],\\<]|$)"
_REST_OF_LINE = r"[^\s\"'`;|<>(){}\[\],*&!@%#][^\s\"'`<>{}]{3,300}"
_LINE = re.compile(
    r"^[ \t]*(?:-[ \t]|export |set |\$env:)?[\"']?([A-Za-z_:][\w.:-]{1,80})[\"']?"
    r"[ \t]{0,20}(:=|\?=|=|:)[ \t]{0,20}(?:[!&]\w{1,30} |[|>][+-]?\r?\n[ \t]{1,40})?"
    rf"({_REST_OF_LINE})[ \t]{{0,20}}(?:[#;].{{0,200}})?\r?$",
    re.MULTILINE,
)
_SPACE = re.compile(
    rf"^[ \t]*(?:set )?([A-Za-z][\w.-]{{2,60}})[ \t]{{1,20}}({_VALUE})[ \t]{{0,20}}\r?$", re.MULTILINE
)
_COMMENT = re.compile(
    rf"(?:^|[ \t])(?:#|//|;|\*|--|<!--|REM|@)[ \t]{{0,8}}(?:\w{{1,20}} )?([A-Za-z][\w.-]{{1,60}})[ \t]{{0,4}}"
    rf"(?:[:=]|\bis\b)[ \t]{{0,4}}({_VALUE})[ \t]{{0,20}}(?:-->|\*/)?\r?$",
    re.MULTILINE,
)
_ENV = re.compile(
    r"\b(?:ENV|ARG|[sS]et[eE]nv|setx|set|configure set|set -\w{1,4}|secret set|config:set|secrets set)"
    rf" {{1,4}}([A-Za-z][\w.]{{2,80}})(?: {{1,4}}|=| (?:-b|--body) )({_VALUE})",
    re.MULTILINE,
)
_UPPER_CASE = re.compile(rf"(?<!\w)([A-Z][A-Z0-9_]{{2,60}})=({_VALUE}){_END}", re.MULTILINE)
_LOWER_CASE = re.compile(rf"(?<!\w)(?:[\w-]{{1,30}}=)?([a-z][\w-]{{2,60}})=({_VALUE}){_END}", re.MULTILINE)
_DEFAULT = re.compile(r"\$\{([A-Za-z_][\w.-]{1,60})(?::?[-=]|:)([^\s\"'`${}]{4,200})\}")
_NAME_AND_VALUE = re.compile(
    rf"name: [\"']?([A-Za-z_]\w{{1,80}})[\"']?\r?\n[ \t]{{0,40}}value: ({_VALUE})[ \t]{{0,20}}\r?$",
    re.MULTILINE,
)
_CONTENT = r"(?:<!\[CDATA\[)?([^<>\s]{4,300})(?:\]\]>)?</"
_DEFAULT_BELOW = re.compile(
    r"^[ \t]*([A-Za-z]\w{1,60}):[ \t]*\r?\n(?:[ \t]+\w{2,20}: [^\n]{1,200}\n){0,4}"
    rf"[ \t]+[Dd]efault: [\"']?({_VALUE})",
    re.MULTILINE,
)
"""A parameter of CloudFormation or OpenAPI."""
_ELEMENT = re.compile(rf"<([A-Za-z][\w.:-]{{1,60}})>(?:\s{{0,40}}<[vV]alue>)?{_CONTENT}")
_NAMED_ELEMENT = re.compile(
    rf"<\w{{2,20}} (?:name|key|id)=\"([\w.:-]{{2,60}})\"[^<>]{{0,60}}>(?:\s{{0,40}}<[vV]alue>)?{_CONTENT}"
)
_PROPERTY_LIST = re.compile(
    rf"<(?:[kK]ey|[nN]ame)>([\w.:-]{{2,60}})</\w{{3,4}}>\s{{0,40}}<(?:string|[vV]alue)>{_CONTENT}"
)
_FLAG = re.compile(rf"(?<![\w-])[-/]{{1,2}}(?:p:)?([A-Za-z][\w.-]{{1,60}})(?:[=:]| {{1,2}})[\"']?({_VALUE})")
_COLON = re.compile(r"(?<![\w:./-])([A-Za-z][\w-]{2,60}): ?([\w.~+/=-]{16,300})(?=[\s\"'`]|$)", re.MULTILINE)

_CHARACTER = r"[^\s\"'`()<>{}\[\],;:/\\]"
_CHOSEN = rf"(?={_CHARACTER}{{0,40}}\d)(?={_CHARACTER}{{0,40}}[A-Za-z])({_CHARACTER}{{6,60}}(?<![.*]))"
_PROSE = (
    re.compile(
        r"(?i:passw(?:or)?d|passphrase|passcode)[`*]{0,2}"
        r"(?:(?: is| was|:| =):? {1,3}[`\"'*]{0,2}| {1,2}[`\"'*]{1,2})"
        rf"{_CHOSEN}(?=[.*]{{0,2}}[\s`\"',]|$)"
    ),
    re.compile(
        r"(?<![\w./-])(?i:login|credentials?|creds|log in)[`\"*]{0,2}(?::| ?[=(]| with| as| is) {0,3}"
        rf"[`\"]?[\w.@-]{{2,40}}[`\"]? ?/ ?[`\"]?{_CHOSEN}"
    ),
)
"""A password in a sentence, and `login: shop / password`."""
_COMMANDS = (
    ("sshpass", rf"sshpass {{1,3}}-p ?[\"']?({_VALUE})"),
    ("mysql", rf"\bmysql\w{{0,10}}\b[^\n|;]{{0,120}} -p[\"']?({_VALUE})"),
    (
        "login",
        rf"\b(?:docker|podman|helm|az|oc)\b[^\n|;]{{0,60}} login [^\n|;]{{0,120}}-p[ =]?[\"']?({_VALUE})",
    ),
    ("redis-cli", rf"\bredis-cli\b[^\n|;]{{0,120}} -a ?[\"']?({_VALUE})"),
    ("ldap", rf"\bldap\w{{3,10}}\b[^\n|;]{{0,160}} -w ?[\"']?({_VALUE})"),
    ("mongo", rf"\bmongo\w{{0,10}}\b[^\n|;]{{0,160}} -p ?[\"']?({_VALUE})"),
    ("sql", rf"\b(?:sqlcmd|bcp|osql)\b[^\n|;]{{0,160}} -P ?[\"']?({_VALUE})"),
    ("zip", rf"\b(?:un)?zip\b[^\n|;]{{0,60}} -P ?[\"']?({_VALUE})"),
    ("7z", rf"\b7za? [^\n|;]{{0,60}} -p[\"']?({_VALUE})"),
    ("twine", rf"\btwine upload\b[^\n|;]{{0,60}} -p ?[\"']?({_VALUE})"),
    ("htpasswd", rf"\bhtpasswd -\w{{0,4}}b\w{{0,4}} \S{{1,80}} \S{{1,60}} [\"']?({_VALUE})"),
    ("add_user", rf"\badd_user \S{{1,60}} [\"']?({_VALUE})"),
    ("net use", rf"\bnet use [^\n]{{0,100}}/user:\S{{1,60}} ({_VALUE})"),
    ("-U ", rf"(?<![\w-])-U [\w\\.]{{1,60}}%({_VALUE})"),
    *(
        (command, rf"\b{command}(?: target)?(?: -\w{{1,3}})? [\w.]{{1,40}}/([^\s\"'`@$]{{4,100}})@")
        for command in ("sqlplus", "impdp", "expdp", "rman")
    ),
    ("base64", r"\becho (?:-n )?[\"']?[\w.@-]{1,60}:([^\s\"'`$|]{4,100})[\"']? ?\| ?base64"),
    *(
        (
            f"{function}(",
            rf"{re.escape(function)}\(\s{{0,4}}b?[\"'`][^:\s\"'`]{{1,60}}:([^\s\"'`$]{{4,100}})[\"'`]",
        )
        for function in ("btoa", "b64encode", "base64_encode", "Buffer.from", "encode64", "encodeToString")
    ),
    *(
        (f"@{net}(", rf"[\"'=\s][\w.-]{{1,64}}:([^\s\"'`@/:]{{4,100}})@{net}\(")
        for net in ("tcp", "unix", "")
    ),
    ("sudo", r"\becho [\"']?([^\s\"'`$|]{4,100})[\"']? ?\| ?sudo -S"),
    ("chpasswd", r"\b[\w.-]{1,40}:([^\s\"'`$|]{4,100})[\"']? ?\| ?(?:sudo )?chpasswd"),
    ("pass:", r"-pass(?:in|out|word)? pass:([^\s\"'`$|]{4,100})"),
    ("send", r"assword[^\n]{0,20}\n[ \t]{0,20}send (?:-- )?\"([^\"\\\n$]{4,60})\\[rn]"),
    (
        "curl",
        r"\b(?:curl|http|xh)\b[^\n|;]{0,160} (?:-u|-a|--user|--auth|--proxy-user)[ =]?[\"']?"
        r"[^\s:\"'$]{1,60}:([^\s\"'`$]{4,100})",
    ),
    ("password", rf"\b(?:login|user|account)\s{{1,20}}\S{{1,80}}\s{{1,20}}password\s{{1,20}}({_VALUE})"),
    (":", r"^(?:[\w.-]{1,100}|\*):(?:\d{1,5}|\*):(?:[\w-]{1,60}|\*):(?:[\w-]{1,60}|\*):([^\s:]{4,100})$"),
)
"""A text that every match has, and the pattern, whose group is a password."""
_SCHEMES = tuple(
    re.compile(rf"{word} ([\w.~+/=-]{{16,600}})(?![\w.~+/=-])") for word in ("earer", "asic", "oken")
)
"""Schemes of the Authorization header, without their first letter, which may be a capital."""


def find_bare(text: str, mentions: list[int], language: str) -> Spans:
    """Yield the spans of secrets without quotes.

    `mentions` is of `mentions_in`; `language` is an id of acepilot.languages, or "".
    """
    literal = language in _LITERAL
    named = [
        _ENV,
        _COMMENT,
        _UPPER_CASE,
        _DEFAULT,
        _NAME_AND_VALUE,
        _ELEMENT,
        _NAMED_ELEMENT,
        _PROPERTY_LIST,
        _FLAG,
    ]
    for start, end in _lines_of(text, mentions):
        if literal:
            for match in _LINE.finditer(text, start, end):
                name, separator, value = match.groups()
                # In a plain text, `password: required` is prose; there and in TOML, `=` assigns.
                words = language == "yaml" or separator != ":"
                if _is_secret(kind_of(name), value, plain_words=words):
                    yield match.span(3)
            for match in _SPACE.finditer(text, start, end):
                if _is_secret(kind_of(match.group(1)), match.group(2), plain_words=False):
                    yield match.span(2)
        for pattern in [*named, _LOWER_CASE] if language in _SHELL_LIKE else named:
            for match in pattern.finditer(text, start, end):
                plain_words = literal and pattern not in (_LOWER_CASE, _FLAG, _COMMENT)
                if _is_secret(kind_of(match.group(1)), match.group(2), plain_words=plain_words):
                    yield match.span(2)
        for match in _COLON.finditer(text, start, end):
            name, value = match.groups()
            mentioned = kind_of(name) is not Kind.NONE and not is_placeholder(value)
            if mentioned and looks_random(value, _ANYWHERE_ENTROPY):
                yield match.span(2)
        for match in chain.from_iterable(pattern.finditer(text, start, end) for pattern in _PROSE):
            if not is_placeholder(match.group(1)):
                yield match.span(1)
    for match in _DEFAULT_BELOW.finditer(text) if language == "yaml" else ():
        if _is_secret(kind_of(match.group(1)), match.group(2), plain_words=False):
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
        return looks_random(value, _NAMED_ENTROPY) or is_uuid(value)
    return looks_chosen(value) or (plain_words and value.isalpha())


@cache
def _commands() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((guard, re.compile(pattern, re.MULTILINE)) for guard, pattern in _COMMANDS)
