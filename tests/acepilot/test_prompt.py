"""Fitting a prompt into its budget: which parts are kept, and which stay the same while a user types."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from acepilot.fim import FORMATS, FimFormat, break_special_tokens, format_for, render
from acepilot.prompt import CLIP_STEP_LINES, SENTINEL_TOKENS, ComposedPrompt, compose
from acepilot.protocol import Snippet


def words(text: str) -> int:
    return len(text.split())


def fit(prefix: str, suffix: str, snippets: list[Snippet], budget: int) -> ComposedPrompt:
    return compose(
        prefix, suffix, snippets, fim=FORMATS[0], special_tokens=(), budget_tokens=budget, count_tokens=words
    )


TEXT = st.text(alphabet=st.sampled_from("ab \n漢😀"), max_size=400)
SUFFIX = TEXT.filter(lambda text: not text or text.strip())
SNIPPETS = st.lists(st.builds(Snippet, path=st.just("a.py"), text=TEXT), max_size=5)


@given(prefix=TEXT, suffix=SUFFIX, snippets=SNIPPETS, budget=st.integers(1, 60))
def test_the_budget_holds_and_the_ends_near_the_cursor_stay(
    prefix: str, suffix: str, snippets: list[Snippet], budget: int
) -> None:
    fitted = fit(prefix, suffix, snippets, budget=budget)
    assert fitted.report.prefix_tokens + fitted.report.suffix_tokens + fitted.report.snippet_tokens <= max(
        budget, 1
    )
    assert prefix.endswith(fitted.prefix)
    assert suffix.startswith(fitted.suffix)
    assert fitted.report.dropped_chars == len(prefix) + len(suffix) - len(fitted.prefix) - len(fitted.suffix)
    assert fitted.report.prefix_tokens == words(fitted.prefix)


@given(prefix=TEXT, suffix=SUFFIX, snippets=SNIPPETS)
def test_a_prompt_that_fits_is_not_changed(prefix: str, suffix: str, snippets: list[Snippet]) -> None:
    fitted = fit(prefix, suffix, snippets, budget=100_000)
    assert (fitted.prefix, fitted.suffix, list(fitted.snippets)) == (prefix, suffix, snippets)
    assert not fitted.report.clipped


def test_the_clip_point_stays_while_a_user_types_and_moves_in_steps_of_lines() -> None:
    document = "".join(f"line {number}\n" for number in range(1000))
    starts = {
        len(document) - len(fit(document + typed, "", [], budget=300).prefix) + len(typed)
        for typed in ("", "a", "a b", "a b c", "a b c\n")
    }
    assert len(starts) == 1
    assert document[: starts.pop()].count("\n") % CLIP_STEP_LINES == 0


def test_one_endless_line_keeps_its_end() -> None:
    fitted = fit("x " * 10_000 + "end", "", [], budget=50)
    assert fitted.prefix.endswith("x end")
    assert 0 < fitted.report.prefix_tokens <= 50


def test_the_oldest_snippets_are_dropped_first() -> None:
    snippets = [Snippet(path=f"{name}.py", text="w " * 10) for name in "abc"]
    fitted = fit("p", "", snippets, budget=112)
    assert [snippet.path for snippet in fitted.snippets] == ["b.py", "c.py"]


def test_snippets_that_cannot_fit_are_not_tokenised() -> None:
    """A client may send megabytes; all other requests would wait while they are tokenised."""
    counted: list[int] = []

    def count_tokens(text: str) -> int:
        counted.append(len(text))
        return words(text)

    snippets = [Snippet(path=f"{name}.py", text="w " * 400_000) for name in "ab"]
    snippets.append(Snippet(path="c.py", text="w " * 10))
    composed = compose(
        "p", "", snippets, fim=None, special_tokens=(), budget_tokens=400, count_tokens=count_tokens
    )
    assert [snippet.path for snippet in composed.snippets] == ["c.py"]
    assert sum(counted) < 1_000


@given(
    path=st.text(alphabet=st.sampled_from("a b"), max_size=200),
    snippets=SNIPPETS,
    fim=st.sampled_from([None, *FORMATS]),
    budget=st.integers(20, 200),
)
def test_paths_and_comment_marks_are_in_the_budget(
    path: str, snippets: list[Snippet], fim: FimFormat | None, budget: int
) -> None:
    """The file's own path, and comment marks for a model without a file separator."""
    suffix = "s" if fim else ""
    composed = compose(
        "p", suffix, snippets, path=path, fim=fim, special_tokens=(), budget_tokens=budget, count_tokens=words
    )
    report = composed.report
    assert report.prefix_tokens + report.suffix_tokens + report.snippet_tokens <= budget
    assert words(composed.text) <= budget + SENTINEL_TOKENS


def test_a_format_is_known_by_its_sentinels() -> None:
    for fim in FORMATS:
        tokens = {fim.prefix, fim.suffix, fim.middle, "<|x|>"}
        assert format_for({*tokens, fim.file_separator or "<|y|>"}) == fim
        assert format_for(tokens) == replace(fim, file_separator=None)
    assert format_for({"<|fim_prefix|>", "<|endoftext|>"}) is None


def test_snippets_are_comments_if_the_tokenizer_has_no_file_separator() -> None:
    """StarCoder 1 and Granite have `<filename>`; for them `<file_sep>` would be plain text."""
    fim = format_for({"<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<filename>"})
    assert fim is not None
    snippets = [Snippet(path="a.ts", text="let a")]
    prompt = render(fim, "p", "s", snippets, path="b.ts", comment="//")
    assert prompt == "// a.ts\n// let a\n<fim_prefix>p<fim_suffix>s<fim_middle>"


def test_snippets_become_files_or_comments() -> None:
    snippets = [Snippet(path="a.ts", text="let a\nlet b")]
    qwen = render(FORMATS[0], "p", "s", snippets, path="b.ts", comment="//")
    assert qwen == (
        "<|file_sep|>a.ts\nlet a\nlet b\n<|file_sep|>b.ts\n<|fim_prefix|>p<|fim_suffix|>s<|fim_middle|>"
    )
    assert render(None, "p", "s", snippets, path="b.ts", comment="//") == "// a.ts\n// let a\n// let b\np"


@given(text=st.text(alphabet=st.sampled_from("<|fimend>_prx "), max_size=60))
def test_no_sentinel_survives_in_a_user_s_text(text: str) -> None:
    tokens = {"<|fim_prefix|>", "<|end|>", "<e>"}
    neutral = break_special_tokens(text, tokens)
    assert not [token for token in tokens if token in neutral]
    assert neutral.replace(" ", "") == text.replace(" ", "")


def test_what_the_model_is_shown() -> None:
    qwen, tokens = FORMATS[0], {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"}

    def shown(prefix: str, suffix: str) -> tuple[str, bool]:
        composed = compose(
            prefix, suffix, fim=qwen, special_tokens=tokens, budget_tokens=100, count_tokens=words
        )
        return composed.text, composed.report.fim == qwen.name

    assert shown("a <|fim_suffix|>", "b") == (
        "<|fim_prefix|>a < |fim_suffix|><|fim_suffix|>b<|fim_middle|>",
        True,
    )
    assert shown("a", " \n") == ("a", False)
