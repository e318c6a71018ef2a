"""Passwords and tokens in the rows of `INSERT INTO table (columns) VALUES (values)`."""

import re

from finetune.corpus.cleaning.secrets.names import Kind, kind_of
from finetune.corpus.cleaning.secrets.values import Spans, is_placeholder, looks_chosen, looks_random

_INSERT = re.compile(
    r"(?:INSERT INTO|insert into) [\w.`\"\[\]]{1,80}\s{0,4}\(([\w\s,`\"\[\]]{1,600})\)\s{0,40}"
    r"(?:VALUES|values)\s{0,40}"
)
_ROW = re.compile(r",?\s{0,40}\(((?:'[^'\n]{0,300}'|[^'()\n]){1,2000}+)\)")
_VALUE = re.compile(r"(?:[NE]?'(?P<text>[^'\n]{0,300})'|[^',]+)\s{0,4}(?:,|$)")
_LEAST_ENTROPY = 2.8  # bits a character


def find_in_rows(text: str) -> Spans:
    """Yield the spans of values whose column has the name of a secret."""
    for insert in _INSERT.finditer(text):
        kinds = [kind_of(column.strip('`"[] \n\t\r')) for column in insert.group(1).split(",")]
        row = _ROW.match(text, insert.end()) if set(kinds) - {Kind.NONE} else None
        while row:
            values = _VALUE.finditer(text, row.start(1), row.end(1))
            for kind, value in zip(kinds, values, strict=False):
                if value["text"] and _is_secret(kind, value["text"]):
                    yield value.span("text")
            row = _ROW.match(text, row.end())


def _is_secret(kind: Kind, value: str) -> bool:
    if kind is Kind.NONE or is_placeholder(value):
        return False
    return looks_chosen(value) if kind is Kind.PASSWORD else looks_random(value, _LEAST_ENTROPY)
