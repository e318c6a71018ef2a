"""Check README.md, CONTRIBUTING.md and docs/: links, anchors, named files, modules and tests exist.

python -m dev.check_docs    print each mistake as `page:line: what is wrong`; exit code 1 if there is one

A word in backticks counts as a repository file when its first folder is one of the repository's, or when it
ends in .py or .sh. Words with a placeholder in capital letters (`FOLDER/gate.json`) are skipped.
"""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from acepilot.cli import program

ROOT = Path(__file__).resolve().parent.parent

LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\))?)\)")
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$")
INLINE_CODE = re.compile(r"`([^`]+)`")
MODULE = re.compile(r"\bpython3? -m ([a-z_][\w.]*)")
FILE = re.compile(r"[\w.@*-]+(?:/[\w.@*-]+)*/?")
TEST = re.compile(r"\btest_\w+\b(?!\.py)")
DEFINED_TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
FENCE = re.compile(r"^ *```")
PLACEHOLDER = re.compile(r"(?<![A-Z])(?!(?:CHANGELOG|CONTRIBUTING|LICENSE|LOG|README)\b)[A-Z]{2,}")
TO_CREATE = re.compile(r"(?<![a-z])(fim|kate|perl|todo_only|toy)(?![a-z])")
"""Names of the examples that a reader of docs/how-to-add/ creates."""

NOT_FILES = {
    "acepilot/status": "a notification of the language server",
    "deploy/.env": "written by the user",
    "main.py": "what the sandbox calls a program",
}
"""Words that look like a repository file -> what they are."""


class Finding(NamedTuple):
    """A mistake in a page."""

    page: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Repository:
    """The files of a repository: paths relative to `root`, with `/`."""

    root: Path
    files: frozenset[str]

    @classmethod
    def at(cls, root: Path) -> "Repository":
        """Return the repository's tracked and new files; what git ignores is left out."""
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
        return cls(root, frozenset(name for name in names.split("\0") if name and (root / name).exists()))

    def folders(self) -> set[str]:
        """Return the repository's top folders."""
        return {name.split("/")[0] for name in self.files if "/" in name}

    def has(self, name: str) -> bool:
        """Return whether `name` is a file, a folder, a matching pattern, or the end of a file's path."""
        wanted = name.rstrip("/")
        if wanted in self.files or any(file.startswith(f"{wanted}/") for file in self.files):
            return True
        return any(fnmatch(file, wanted) or fnmatch(file, f"*/{wanted}") for file in self.files)

    @cached_property
    def tests(self) -> set[str]:
        """The names of the tests' modules and of the functions in them."""
        modules = [self.root / name for name in self.files if fnmatch(name, "tests/*.py")]
        functions = (DEFINED_TEST.findall(path.read_text(encoding="utf-8")) for path in modules)
        return {path.stem for path in modules}.union(*functions)

    def has_module(self, name: str) -> bool:
        """Return whether `python -m NAME` finds a module: one of the repository's, or an installed one."""
        path = name.replace(".", "/")
        if path.split("/")[0] in self.folders():
            return f"{path}.py" in self.files or f"{path}/__main__.py" in self.files
        return importlib.util.find_spec(name.split(".")[0]) is not None


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    found: set[str] = set()
    for _, line in prose(text):
        if heading := HEADING.match(line):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
            number = 0
            while (name := f"{slug}-{number}" if number else slug) in found:
                number += 1
            found.add(name)
    return found


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines outside of code blocks."""
    is_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            is_code = not is_code
        elif not is_code:
            yield number, line


def named_files(line: str, repository: Repository) -> Iterator[str]:
    """Yield the words in a line's inline code that look like a file of the repository."""
    folders = repository.folders()
    for code in INLINE_CODE.findall(line):
        for word in re.split(r"[\s,;()=\"']+", code):
            name = word.split("::")[0].rstrip(":.")
            if name in NOT_FILES or not FILE.fullmatch(name) or PLACEHOLDER.search(name):
                continue
            parts = PurePosixPath(name).parts
            if (len(parts) > 1 and parts[0] in folders) or name.endswith((".py", ".sh")):
                yield name


def check_page(page: str, repository: Repository) -> Iterator[Finding]:
    """Yield a page's mistakes."""
    text = (repository.root / page).read_text(encoding="utf-8")
    for number, line in prose(text):
        for target in LINK.findall(re.sub(INLINE_CODE, "", line)):
            if message := broken_link(page, unquote(target), repository):
                yield Finding(page, number, message)
        for name in named_files(line, repository):
            is_example = page.startswith("docs/how-to-add/") and TO_CREATE.search(name)
            if not is_example and not repository.has(name):
                yield Finding(page, number, f"there is no file `{name}`")
        for code in INLINE_CODE.findall(line):
            for name in TEST.findall(code):
                if name not in repository.tests:
                    yield Finding(page, number, f"there is no test `{name}`")
    for number, line in enumerate(text.splitlines(), 1):
        for name in MODULE.findall(line):
            if not repository.has_module(name):
                yield Finding(page, number, f"there is no module `{name}` for `python -m`")


def broken_link(page: str, target: str, repository: Repository) -> str | None:
    """Return what is wrong with a link's target; None if nothing is, or if it leads elsewhere."""
    if re.match(r"[a-z]+:", target):
        return None
    path, _, anchor = target.partition("#")
    file = (repository.root / page).parent / path if path else repository.root / page
    if not file.exists():
        return f"the link's target `{target}` does not exist"
    if anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
        return f"`{path or page}` has no heading for the anchor `#{anchor}`"
    return None


def pages(repository: Repository) -> list[str]:
    """Return the pages that are checked."""
    docs = [name for name in repository.files if name.startswith("docs/") and name.endswith(".md")]
    return sorted({"README.md", "CONTRIBUTING.md", *docs} & repository.files)


@program()
def main() -> int:
    repository = Repository.at(ROOT)
    found = [finding for page in pages(repository) for finding in check_page(page, repository)]
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
