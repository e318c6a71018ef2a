"""The pages of docs/reference/ say what the code says."""

import pytest

from dev.reference import COMMANDS, FOLDER, METHODS, OPERATIONS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), "the code has changed: run `python -m dev.reference`"


def test_what_is_described_exists() -> None:
    pages = "".join(write() for write in PAGES.values())
    for name in (*OPERATIONS, *METHODS, *COMMANDS):
        assert f"| `{name}` |" in pages
