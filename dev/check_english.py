"""Check docs, docstrings and comments for phrases that a reader has to read twice.

python -m dev.check_english           print phrases that dev/english.toml refuses; exit code 1 if there is any
python -m dev.check_english --long    print sentences of more than LONG_WORDS words, too, as warnings

vale would do this, but its packages on PyPI and npm download a program from GitHub when they first run.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from acepilot.cli import program
from dev.check_docs import ROOT, Finding, Repository, pages, prose

RULES = Path(__file__).with_name("english.toml")
LONG_WORDS = 40
"""A sentence with more words is worth a second look; STYLE.md sets no limit."""

PACKAGES = ("acepilot", "bench", "dev", "eval_humaneval", "finetune", "lsp", "scripts", "server", "story")
SAMPLES = "dev/samples/"
"""Files with a mark for the cursor: they do not parse as Python."""


class Rule(NamedTuple):
    """A refused phrase, and what to write instead."""

    pattern: re.Pattern[str]
    instead: str


class Text(NamedTuple):
    """A piece of English: a paragraph, a docstring or a comment, and the line on which it begins."""

    line: int
    text: str


def read_rules(path: Path) -> list[Rule]:
    """Return the rules of a TOML file."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return [Rule(re.compile(rule["pattern"], re.IGNORECASE), rule["instead"]) for rule in document["rule"]]


def paragraphs(markdown: str) -> Iterator[Text]:
    """Yield a page's paragraphs, table rows and list items, without code."""
    first, lines = 0, list[str]()
    for number, line in [*prose(markdown), (0, "")]:
        starts = not line.strip() or re.match(r" *([-*|#>]|\d+\.) ?", line)
        if starts and lines:
            yield Text(first, re.sub(r"`[^`]*`", "code", "\n".join(lines)))
            lines = []
        if line.strip():
            first = first if lines else number
            lines.append(line)


def english_in(source: str) -> Iterator[Text]:
    """Yield a module's docstrings, strings below constants among them, and its comments."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield Text(node.lineno, text)
            case _:
                pass
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(token.start[0], token.string)


def check(name: str, texts: list[Text], rules: list[Rule]) -> Iterator[Finding]:
    """Yield the refused phrases of a file's texts; a line break in a phrase counts as a space."""
    for first, text in texts:
        flat = re.sub(r"\s", " ", text)
        for rule in rules:
            for found in rule.pattern.finditer(flat):
                line = first + text[: found.start()].count("\n")
                yield Finding(name, line, f"“{found[0]}”: {rule.instead}")


def long_sentences(name: str, texts: list[Text]) -> Iterator[Finding]:
    """Yield the sentences of more than LONG_WORDS words."""
    for first, text in texts:
        if text.lstrip().startswith("|"):
            continue
        for sentence in re.split(r"(?<=[.:;?!])\s", text):
            if (words := len(sentence.split())) > LONG_WORDS:
                line = first + text[: text.find(sentence)].count("\n")
                yield Finding(name, line, f"warning: a sentence of {words} words")


def files(repository: Repository) -> Iterator[tuple[str, list[Text]]]:
    """Yield name and texts of each page and each Python file of PACKAGES."""
    for page in pages(repository):
        yield page, list(paragraphs((repository.root / page).read_text(encoding="utf-8")))
    for name in sorted(repository.files):
        if name.endswith(".py") and name.split("/")[0] in PACKAGES and not name.startswith(SAMPLES):
            yield name, list(english_in((repository.root / name).read_text(encoding="utf-8")))


@program()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--long", action="store_true", help="print long sentences, too")
    given = parser.parse_args()
    rules = read_rules(RULES)
    refused = False
    for name, texts in files(Repository.at(ROOT)):
        for finding in check(name, texts, rules):
            refused = True
            print(finding)
        if given.long:
            for warning in long_sentences(name, texts):
                print(warning)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
