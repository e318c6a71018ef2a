"""The table of languages, and finding a document's language by id or path."""

import pytest

from acepilot.languages import LANGUAGES, Language, language_for, parser_for


@pytest.mark.parametrize(
    ("lsp_id", "path", "expected"),
    [
        ("python", None, "python"),
        ("vue", None, "vue"),
        ("typescriptreact", None, "typescriptreact"),
        ("shellscript", None, "bash"),
        ("bash", None, "bash"),
        ("Python", None, "python"),
        (None, "/src/App.vue", "vue"),
        (None, "C:\\src\\Main.PY", "python"),
        (None, "types.d.ts", "typescript"),
        (None, "deploy/Dockerfile", "dockerfile"),
        (None, "Makefile", "make"),
        ("typescript", "notes.md", "typescript"),
        ("brainfuck", "main.go", "go"),
        ("brainfuck", "x.bf", "plaintext"),
        ("plaintext", "src/App.vue", "vue"),
        ("plaintext", "notes.txt", "plaintext"),
        ("plaintext", None, "plaintext"),
        (None, "README", "plaintext"),
        (None, ".py/readme", "plaintext"),
        (None, None, "plaintext"),
        ("", "", "plaintext"),
    ],
)
def test_a_document_has_a_language(lsp_id: str | None, path: str | None, expected: str) -> None:
    assert language_for(lsp_id, path).id == expected


def test_no_name_means_two_languages() -> None:
    for names in ("lsp_ids", "extensions"):
        claimed = [name for language in LANGUAGES.values() for name in getattr(language, names)]
        assert len(claimed) == len(set(claimed))


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=list(LANGUAGES))
def test_every_row_is_sound(language: Language) -> None:
    assert language.extensions
    assert language.block_style in ("braces", "indent", "tags", "plain")
    assert all(stop.startswith("\n") and stop.strip() for stop in language.stops)
    assert len(language.brackets) % 2 == 0
    parser = parser_for(language)
    assert (parser is None) == (language.grammar is None)
    assert parser is parser_for(language)
    if parser:
        assert parser.parse(b"").root_node.end_byte == 0


def test_the_languages_of_the_product_are_there() -> None:
    wanted = (
        "python javascript typescript typescriptreact vue html css scss json yaml toml markdown java go c cpp"
    )
    wanted += " rust php ruby csharp bash kotlin scala swift lua sql perl"
    assert set(wanted.split()) <= set(LANGUAGES)
