"""dev.check_docs finds broken links, missing files and missing modules, and names page and line."""

import subprocess
from pathlib import Path

import pytest

from dev.check_docs import Repository, anchors, check_page, pages

PAGE = """# A page

[good](other.md#two-words-and-code), [out](https://example.com), [here](#a-page)
`acepilot/cli.py`, `acepilot/*.py`, `cli.py`, `acepilot/`, `acepilot/NAME.py`, `python -m acepilot`
`test_help`

```sh
python -m acepilot.cli    # [not a link](x.md)
```
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    texts = {
        "docs/page.md": PAGE,
        "docs/other.md": "# Other\n\n## Two words, and `code`!\n",
        "acepilot/cli.py": "",
        "acepilot/__main__.py": "",
        "tests/test_cli.py": "def test_help(): ...",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return Repository.at(tmp_path)


def test_a_page_without_mistakes_has_no_findings(repository: Repository) -> None:
    assert pages(repository) == ["docs/other.md", "docs/page.md"]
    assert list(check_page("docs/page.md", repository)) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[a](gone.md)", "the link's target `gone.md` does not exist"),
        ("![a](images/gone.png)", "the link's target `images/gone.png` does not exist"),
        ("[a](other.md#gone)", "`other.md` has no heading for the anchor `#gone`"),
        ("[a](#gone)", "`docs/page.md` has no heading for the anchor `#gone`"),
        ("`acepilot/gone.py`", "there is no file `acepilot/gone.py`"),
        ("`gone.py`", "there is no file `gone.py`"),
        ("`acepilot/gone*.py`", "there is no file `acepilot/gone*.py`"),
        ("`test_gone`, `test_cli.py`", "there is no test `test_gone`"),
        ("`tests/test_cli.py::test_gone`", "there is no test `test_gone`"),
        ("`python -m acepilot.gone`", "there is no module `acepilot.gone` for `python -m`"),
        ("`python -m no_such_package`", "there is no module `no_such_package` for `python -m`"),
    ],
)
def test_a_mistake_is_found_with_its_line(repository: Repository, line: str, message: str) -> None:
    (repository.root / "docs/page.md").write_text(f"# A page\n\n{line}\n", encoding="utf-8")
    assert [str(found) for found in check_page("docs/page.md", repository)] == [f"docs/page.md:3: {message}"]


def test_equal_headings_have_numbered_anchors() -> None:
    assert anchors("# One\n\n## One\n\n```sh\n# a comment\n```\n") == {"one", "one-1"}
