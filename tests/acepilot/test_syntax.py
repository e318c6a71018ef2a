"""Parsing around the cursor: valid code, broken code, and text that is not code."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acepilot.languages import LANGUAGES
from acepilot.syntax import (
    WINDOW_CHARS,
    embedded_at,
    enclosing_blocks,
    longest_valid_prefix,
    parses,
    window,
)

TS, PYTHON, RUBY, VUE = (LANGUAGES[name] for name in ("typescript", "python", "ruby", "vue"))


def test_parses() -> None:
    assert parses("const a = 1", TS)
    assert not parses("const a = (", TS)
    assert not parses("anything", LANGUAGES["plaintext"])


def test_enclosing_blocks_are_innermost_first() -> None:
    prefix, suffix = "function f() {\n  if (a) {\n    ", "\n  }\n}\n"
    blocks = enclosing_blocks(prefix, suffix, TS)
    code = prefix + suffix
    assert [code[block.start :].partition(" ")[0] for block in blocks] == ["{\n", "if", "{\n", "function"]
    assert all(code[block.closer] == "}" for block in blocks if block.kind == "statement_block")
    assert not any(block.broken for block in blocks)
    assert any(block.broken for block in enclosing_blocks(prefix, "\n  }\n", TS))


def test_an_inserted_text_closes_the_block() -> None:
    prefix, suffix = "def f\n", "\nend\n"
    before = next(block for block in enclosing_blocks(prefix, suffix, RUBY) if block.kind == "method")
    after = next(
        block for block in enclosing_blocks(prefix, suffix, RUBY, "1\nend") if block.kind == "method"
    )
    assert before.end == len(prefix + suffix) - 1
    assert after.end == len(prefix + "1\nend")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a()\nb()", "a()\nb()"),
        ("a()\nif (b) {\n  c()", "a()"),
        ("a()\n}", "a()"),
        ("if (b) {", ""),
    ],
)
def test_longest_valid_prefix(text: str, expected: str) -> None:
    prefix, suffix = "function f(a, b, c) {\n", "\n}\n"
    assert text[: longest_valid_prefix(prefix, text, suffix, TS)] == expected


def test_code_that_was_broken_before_does_not_count() -> None:
    assert longest_valid_prefix("const = ;\nfunction f() {\n", "a()", "\n}\n", TS) == len("a()")


@pytest.mark.parametrize(
    ("prefix", "tag", "language"),
    [
        ('<script setup lang="ts">\nconst a = ', "script", "typescript"),
        ("<script>\nconst a = ", "script", "javascript"),
        ('<script lang="tsx">\n', "script", "typescriptreact"),
        ('<script setup lang="ts" generic="T extends Record<string, string>">\n', "script", "typescript"),
        ('<style scoped lang="scss">\n.a {', "style", "scss"),
        ("<style>\n", "style", "css"),
        ('<script lang="ts">\nconst a = 1\n</script>\n<style>\n', "style", "css"),
        (
            '<script lang="ts">\nconst a = "<script-like", b = \'<script src="b" />\'\n',
            "script",
            "typescript",
        ),
    ],
)
def test_embedded_at(prefix: str, tag: str, language: str) -> None:
    embedded = embedded_at(prefix, VUE)
    assert embedded is not None
    assert (embedded.tag, embedded.language.id) == (tag, language)
    assert prefix[embedded.start - 1 :].startswith(">\n")


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "<template>\n  <p>",
        '<script lang="ts">\n</script>\n',
        '<script lang="',
        '<script src="./app.ts" lang="ts" />\n<template>\n  <p>',
        "<script src='a'/>\n",
        '<template>\n  <style-guide :of="it" />\n  <script-list>\n',
        "<template>\n</template>\n",
    ],
)
def test_outside_of_scripts_and_styles(prefix: str) -> None:
    assert embedded_at(prefix, VUE) is None
    assert embedded_at('<script lang="ts">\n', PYTHON) is None


def test_the_window_bounds_what_is_parsed() -> None:
    line = "const value = compute(1)\n"
    before, after = window(line * 400_000, line * 400_000)
    assert WINDOW_CHARS - len(line) <= len(before) <= WINDOW_CHARS
    assert before.startswith("const")
    assert len(after) == WINDOW_CHARS
    assert longest_valid_prefix(line * 400_000, line, line * 400_000, TS) == len(line)


@settings(max_examples=100)
@given(
    st.text(max_size=80),
    st.text(max_size=80),
    st.text(max_size=40),
    st.sampled_from([TS, PYTHON, RUBY, VUE, LANGUAGES["plaintext"]]),
)
def test_any_text_has_an_answer(prefix: str, suffix: str, text: str, language: object) -> None:
    code = prefix + text + suffix
    for block in enclosing_blocks(prefix, suffix, language, text):  # type: ignore[arg-type]
        assert 0 <= block.start <= block.closer <= block.end <= len(code)
    assert 0 <= longest_valid_prefix(prefix, text, suffix, language) <= len(text)  # type: ignore[arg-type]


def test_lone_surrogates_and_binary_junk() -> None:
    junk = "\ud800\x00\udfff" + "".join(map(chr, range(1, 256)))
    enclosing_blocks(junk, junk, TS)
    assert longest_valid_prefix(junk, junk, junk, TS) <= len(junk)
