"""Scrape, step 1: parse the sources of a command line, a list file or the recipe vue40.toml.

npm:buefy@3.1.0                  a package; without a version, the newest one
pypi:rich@15.0.0                 a package, from its wheel for all platforms
github:vuejs/pinia@<commit>      a repository; without a commit, the head of its default branch
git:https://host/x.git@<ref>     any URL that git understands
path:/some/folder                a folder; the last commit of a git repository
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from acepilot.errors import ConfigError

SourceKind = Literal["npm", "pypi", "github", "git", "path"]
VUE40 = Path(__file__).with_name("vue40.toml")

_GITHUB = re.compile(r"[\w.-]+/[\w.-]+")
_NPM = re.compile(r"(@[\w.~-]+/)?[\w.~-]+")
_PYPI = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Source:
    """`name` is a package, an owner/repository, a URL or a path; `ref` is a version, commit or branch."""

    kind: SourceKind
    name: str
    ref: str | None = None

    @property
    def key(self) -> str:
        """The source as a user writes it, but without a password, because it is printed and stored."""
        return f"{self.kind}:{self.plain_name}" + (f"@{self.ref}" if self.ref else "")

    @property
    def plain_name(self) -> str:
        return re.sub(r"^(https?://)[^/]*@", r"\1", self.name)

    @property
    def id(self) -> str:
        """The id of the project: all versions have the same id, so that a split keeps them together."""
        name = self.plain_name
        if self.kind == "git":
            name = re.sub(r"^\w+://([^@/]+@)?", "", name).removesuffix(".git")
        if self.kind == "path":
            name = Path(name).name
        if name.startswith("github.com/"):
            return "github:" + name.removeprefix("github.com/")
        return f"{self.kind}:{name}"

    @property
    def clone_url(self) -> str:
        return f"https://github.com/{self.name}.git" if self.kind == "github" else self.name


def parse_source(text: str) -> Source:
    """Parse one source. Raises ConfigError, which lists the forms."""
    kind, _, rest = text.strip().partition(":")
    if kind not in get_args(SourceKind) or not rest:
        raise ConfigError(
            f"{text!r} is not a source: write npm:NAME@VERSION, pypi:NAME@VERSION, github:OWNER/NAME@COMMIT, "
            "git:URL@REF or path:FOLDER."
        )
    if kind == "path":
        return Source("path", str(Path(rest).expanduser().resolve()))
    if kind == "git":
        match = re.fullmatch(r"(.*[^@/:]/[^@]*?)(?:@([^@/:]+))?", rest)  # not the @ of git@host
        url, ref = match.groups() if match else (rest, None)
        return Source("git", url, ref)
    name, at, ref = rest.rpartition("@") if rest.rfind("@") > 0 else (rest, "", "")
    shape = {"npm": _NPM, "pypi": _PYPI}.get(kind, _GITHUB)
    if not shape.fullmatch(name) or (at and not re.fullmatch(r"[\w.+/-]+", ref)):
        raise ConfigError(f"{text!r} is not a source: {name!r} is not a valid name for {kind}.")
    return Source("npm" if kind == "npm" else "pypi" if kind == "pypi" else "github", name, ref or None)


def read_list(path: Path) -> list[Source]:
    """Read a list file: one source on each line with # for comments, or TOML with `sources = [...]`."""
    try:
        text = path.read_text(encoding="utf-8")
        document: dict[str, Any] = tomllib.loads(text) if path.suffix == ".toml" else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"The list {path} cannot be read: {error}") from error
    lines: list[str] = document.get("sources", []) if document else text.splitlines()
    sources = [
        parse_source(line.split(" #")[0]) for line in lines if line.strip() and not line.startswith("#")
    ]
    if not sources:
        raise ConfigError(f"The list {path} has no source: write one on each line.")
    return sources
