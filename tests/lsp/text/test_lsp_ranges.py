"""How many characters right of the cursor a completion replaces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp.text.ranges import reach


@pytest.mark.parametrize(
    ("text", "line_after", "replaced"),
    [
        ("a, b", ")", ""),
        ("a, b)", ")", ")"),
        ("a, b)", ");", ")"),
        ("a, b);", ");", ");"),
        ("foo()", ")", ""),
        ("foo())", ")", ")"),
        ("a) {\n  return a\n}", ")", ")"),
        ("a) {\n  return a\n}", ") {}", ")"),
        ('item.id"', '"', '"'),
        ("item.id", '"', ""),
        ('item.id" class="x"', '"', '"'),
        ('item.id" />', '" />', '" />'),
        ('key": [1, 2]}', '"}', '"}'),
        ('key": [1, 2]', '"}', '"'),
        ('f(")")', ")", ""),
        ("x  # don't\n)", ")", ")"),
        ('class="a">', "></div>", ">"),
        ("a = 5;", "= 5;", "= 5;"),
        ("ab", "b + c", ""),
        ("total", "", ""),
    ],
)
def test_no_bracket_is_left_over(text: str, line_after: str, replaced: str) -> None:
    assert line_after[: reach(text, line_after)] == replaced


@given(st.text("ab()[]{}\"'`;\n ", max_size=30), st.text("ab()[]{}\"'`; ", max_size=12))
def test_only_the_cursors_line_is_replaced(text: str, line_after: str) -> None:
    assert 0 <= reach(text, line_after) <= len(line_after)


@given(
    st.recursive(st.just(""), lambda inner: st.tuples(inner, inner).map(lambda two: f"({two[0]}){two[1]}[]"))
)
def test_balanced_text_keeps_the_closer(text: str) -> None:
    assert reach(text, ")") == 0
    assert reach(text + ")", ")") == 1
