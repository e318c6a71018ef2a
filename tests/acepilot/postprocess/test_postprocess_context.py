"""Reading the document around the cursor if it is larger than the window, and the cost of that."""

from acepilot.languages import LANGUAGES
from acepilot.postprocess.chain import EarlyStop, finish
from acepilot.postprocess.context import WINDOW_CHARS, Context, locate
from acepilot.postprocess.scan import scan

TS, PYTHON, VUE = LANGUAGES["typescript"], LANGUAGES["python"], LANGUAGES["vue"]
MANY = WINDOW_CHARS // 10


def test_a_window_cut_inside_a_docstring_does_not_turn_code_into_strings() -> None:
    docstring = 'def f():\n    """' + "Words (and more.\n" * MANY + '    """\n'
    cursor = locate(docstring + "    return 1\n\ndef g(x):\n    print(", ")\n", PYTHON)
    assert [opener.mark for opener in cursor.stack] == ["("]
    assert cursor.standing == (True,)
    assert cursor.inside == ""


def test_below_a_long_suffix_the_outer_block_is_believed_to_close() -> None:
    methods = "  method() {\n    return 1\n  }\n" * MANY
    cursor = locate("class A {\n  constructor() {\n    call(", "\n  }\n" + methods + "}\n", TS)
    assert [opener.mark for opener in cursor.stack] == ["{", "{", "("]
    assert cursor.standing == (True, True, False)


def test_below_a_long_suffix_a_block_just_opened_is_open() -> None:
    methods = "  method() {\n    return 1\n  }\n" * MANY
    cursor = locate("class A {\n  constructor() {\n    ", "\n" + methods + "}\n", TS)
    assert cursor.standing == (True, False)


def test_a_long_script_keeps_its_language() -> None:
    cursor = locate(
        '<script setup lang="ts">\n' + "call(1)\n" * MANY, "\n</script>\n<template>}</template>\n", VUE
    )
    assert cursor.language is TS
    assert cursor.after == "\n"


def test_the_cost_does_not_grow_with_the_document() -> None:
    """Only the windows are read: 10 MB on either side give the same as the text near the cursor."""
    line = "const value = compute(1)\n"
    far = line * (10_000_000 // len(line))
    near = line * (WINDOW_CHARS // len(line) + 1)
    text = "a()\n}\n"
    outcomes = [
        finish(text, Context(side + "{\n", "\n}\n" + side, TS, "block"), truncated=False)
        for side in (far, near)
    ]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].text == "a()"
    context = Context(far, far, TS, "block")
    assert len(context.cursor.before) <= WINDOW_CHARS
    assert len(context.cursor.after) <= WINDOW_CHARS


def test_nesting_without_end_is_forgotten() -> None:
    context = Context("({[" * WINDOW_CHARS, "]" * WINDOW_CHARS, TS, "block")
    assert len(context.cursor.stack) <= 200
    assert EarlyStop(context).feed("a]").visible == 1


def test_a_reading_goes_on_line_by_line() -> None:
    lines = ["f(`a\n", "b`, {\n", "c: [1]\n", "})\n"]
    state = scan("", TS)
    for line in lines:
        state = scan(line, TS, state.stack, state.floor)
    assert state.stack == scan("".join(lines), TS).stack == ()
