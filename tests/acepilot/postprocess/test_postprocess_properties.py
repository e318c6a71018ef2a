"""Properties of the chain for any text: shown text stays, pieces do not matter, brackets balance."""

import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acepilot.languages import LANGUAGES
from acepilot.postprocess.chain import HIDDEN, EarlyStop, Progress, finish
from acepilot.postprocess.context import Context, locate
from acepilot.postprocess.mode import choose_mode
from acepilot.postprocess.scan import scan

# Fragments that meet the rules, beside any text at all: random characters hardly ever form a line of code.
PIECES = [
    "\n", "\n\n", "    ", "  ", "\t", " ", "(", ")", "{", "}", "[", "]", "});", ");", ";", ",", ", b)", ":",
    " => {", '"', "'", "`", '"""', "/", "//", "/*", "*/", "# ", "<!--", "-->", "<", ">", "/>", "</", "<li>",
    "</li>", "<ul>", "</ul>", '<li :key="', "{{ ", " }}", "</script>", '<script setup lang="ts">',
    "<style>", "</template>", "<template>", "<|", "|>", "<|endoftext|>", "<fim_", "```", "return x",
    "x = 1", "foo(a", "if x:", "else:", "def f():", "end", "fi", "const a = ", "function f() {", "class A:",
    "very ", "item.id", "ü", "漢", "\r", "\u2028", "\u200d", "👩", "\u202e", "\x1b",
]  # fmt: skip
code = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
anything = st.one_of(code, code, st.text(max_size=40), st.text(string.printable, max_size=60))
languages = st.sampled_from(
    [
        LANGUAGES[name]
        for name in ("vue", "html", "typescript", "python", "go", "ruby", "bash", "json", "markdown")
    ]
)


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    prefix, suffix, language = draw(anything), draw(anything), draw(languages)
    mode = draw(st.sampled_from(["line", "block", "auto"]))
    return Context(
        prefix, suffix, language, choose_mode(locate(prefix, suffix, language)) if mode == "auto" else mode
    )


def feed(text: str, context: Context, ends: list[int]) -> list[Progress]:
    stop = EarlyStop(context)
    seen: list[Progress] = []
    for end in [*sorted(ends), len(text)]:
        seen.append(stop.feed(text[:end]))
        if seen[-1].stopped_by:
            break
    return seen


def chosen(progress: Progress, text: str) -> str:
    """Return the text that the server passes to `finish`."""
    return text[: progress.visible] if progress.stopped_by else text


many = settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])


@many
@given(contexts(), anything)
def test_what_is_shown_stays(context: Context, text: str) -> None:
    shown = [progress.visible for progress in feed(text, context, list(range(1, len(text))))]
    assert shown == sorted(shown)
    assert all(0 <= visible <= len(text) for visible in shown)
    assert all(not text[:visible][-1:].isspace() for visible in shown)


@many
@given(contexts(), anything, st.data())
def test_pieces_do_not_matter(context: Context, text: str, data: st.DataObject) -> None:
    ends = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    lines = [index + 1 for index, char in enumerate(text) if char == "\n"]
    last = [feed(text, context, chunks)[-1] for chunks in (ends, lines, list(range(len(text))), [])]
    assert len(set(last)) == 1


@many
@given(contexts(), anything, st.booleans())
def test_finish_never_adds_text_and_changes_nothing_twice(
    context: Context, text: str, truncated: bool
) -> None:
    outcome = finish(text, context, truncated=truncated)
    assert bool(outcome.reason) == (not outcome.text)
    assert outcome.text == outcome.text.rstrip()
    assert (
        len(outcome.text) == len(text) - sum(report.removed_chars for report in outcome.filters) or not text
    )
    assert finish(outcome.text, context, truncated=False).text == outcome.text


@many
@given(contexts(), anything)
def test_a_stream_offers_what_the_whole_text_would(context: Context, text: str) -> None:
    """Streaming saves tokens; it never changes the answer."""
    text = HIDDEN.apply(text, context)  # as the server does with each piece
    progress = feed(text, context, list(range(len(text))))[-1]
    assert (
        finish(chosen(progress, text), context, truncated=False).text
        == finish(text, context, truncated=False).text
    )


@many
@given(contexts(), anything)
def test_no_closer_without_an_opener(context: Context, text: str) -> None:
    """The offered text closes only what the prefix leaves open and the suffix does not close."""
    cursor = context.cursor
    floor = len(cursor.stack)
    for stray in scan(finish(text, context, truncated=False).text, cursor.language, cursor.stack).strays:
        in_markup = cursor.language.block_style == "tags" and stray.mark in "([{"
        assert stray.depth >= 0 or in_markup
        assert not any(cursor.standing[max(stray.depth, 0) : floor]) or stray.depth < 0
        floor = min(floor, stray.depth) if stray.depth >= 0 else floor
