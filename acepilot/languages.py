"""The programming languages, read once from languages.toml: comments, quotes, blocks, grammar."""

import tomllib
from functools import cache
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Literal, cast

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

if TYPE_CHECKING:
    from tree_sitter import Parser


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Language:
    """One table of languages.toml.

    `extensions` also holds whole file names, such as Makefile. `grammar` is a name of
    tree-sitter-language-pack. Each of `stops` begins a new definition, and starts with a newline, so that it
    can serve as a stop string.
    """

    id: str
    lsp_ids: tuple[str, ...]
    extensions: tuple[str, ...]
    line_comment: str | None = None
    block_comment: tuple[str, str] | None = None
    grammar: str | None = None
    block_style: Literal["braces", "indent", "tags", "plain"] = "braces"
    stops: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ('"', "'")
    brackets: str = "()[]{}"


_TABLES = tomllib.loads(Path(__file__).with_name("languages.toml").read_text(encoding="utf-8"))
LANGUAGES = {name: Language(id=name, **table) for name, table in _TABLES.items()}
"""The languages by our own id. Every unknown language becomes `plaintext`."""

_BY_LSP_ID = {name: language for language in LANGUAGES.values() for name in (language.id, *language.lsp_ids)}
_BY_EXTENSION = {end: language for language in LANGUAGES.values() for end in language.extensions}


def language_for(lsp_id: str | None = None, path: str | None = None) -> Language:
    """Return a document's language: by its LSP id (or our id), else by its path, else plain text.

    Editors send `plaintext` for every file type they do not know; so for `plaintext` the path decides.
    """
    plain = LANGUAGES["plaintext"]
    if lsp_id and (known := _BY_LSP_ID.get(lsp_id.lower(), plain)) is not plain:
        return known
    name = (path or "").replace("\\", "/").rpartition("/")[2]
    extension = "." + name.rpartition(".")[2] if "." in name else ""
    keys = (name, extension, extension.lower())
    return next((_BY_EXTENSION[key] for key in keys if key in _BY_EXTENSION), plain)


def parser_for(language: Language) -> "Parser | None":
    """Return the calling thread's tree-sitter parser of a language; None if it has no grammar.

    A thread makes it once. No two threads may use one parser, and with a lock they would wait for each other.
    """
    return _parsers.of(language)


def _new_parser(language: Language) -> "Parser | None":
    if language.grammar is None:
        return None
    # This import takes 35 ms, and many programs never parse.
    from tree_sitter_language_pack import SupportedLanguage, get_parser

    return get_parser(cast(SupportedLanguage, language.grammar))


class _Parsers(local):
    """The parsers of one thread."""

    def __init__(self) -> None:
        self.of = cache(_new_parser)


_parsers = _Parsers()
