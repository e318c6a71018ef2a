"""Scrape, step 1: parse the sources of a command line, a list file or the recipe vue40.toml.

npm:buefy@3.1.0                  a package; without a version, the newest one
pypi:rich@15.0.0                 a package, from its wheel for all platforms
github:vuejs/pinia@<commit>      a repository; without a commit, the head of its default branch
git:https://host/x.git@<ref>     a URL that git_url.py allows
git:https://host/x.git#<ref>     the same; a ref with `/` or `@` needs the `#`, also with github:
path:/some/folder                a folder; the last commit of a git repository

No message repeats a source that is not valid: a mistyped one may hold a token anywhere.
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from acepilot.errors import ConfigError
from finetune.scrape.git_url import Credentials, parse_git_url
from finetune.scrape.unreadable import printable, why_unreadable

SourceKind = Literal["npm", "pypi", "github", "git", "path"]
VUE40 = Path(__file__).with_name("vue40.toml")

# Names and refs are arguments of git, npm and pip: none may begin like an option or a path.
_SHAPES = {
    "npm": re.compile(r"(@[\w~][\w.~-]*/)?\w[\w.~-]*", re.ASCII),
    "pypi": re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?", re.ASCII),
    "github": re.compile(r"\w[\w.-]*/[\w.][\w.-]*", re.ASCII),
}
_VERSION = re.compile(r"\w[\w.+-]*", re.ASCII)  # no `/`: npm would take it for a folder or a repository
_REF = re.compile(r"\w[\w.+/-]*")
# A ref after `#`, such as feature/login, pkg@1.0.0 or @scope/pkg@1.0.0. The rest of a URL has another shape.
_MARKED_REF = re.compile(r"(@[\w.-]+/)?\w[\w.+/-]*(@[\w.+-]+)?")
_TOKEN = re.compile(
    r"(?=.*\d)(?=.*[A-Z])((gh[a-z]|github_pat|gl[a-z]{2,8}|npm|pypi)[_-]|ATBB|ATCTT)[\w-]{16,}", re.ASCII
)
"""A token of a code host, where a ref is expected."""


@dataclass(frozen=True)
class Source:
    """`name` is a package, an owner/repository, a URL or a path; `ref` is a version, commit or branch.

    The credentials of a git URL are kept apart, because all else is printed and stored.
    """

    kind: SourceKind
    name: str
    ref: str | None = None
    credentials: Credentials | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> str:
        """The source as a user writes it, without credentials."""
        if self.ref is None:
            return f"{self.kind}:{self.name}"
        mark = "#" if "@" in self.ref or (self.kind == "git" and "/" in self.ref) else "@"
        return f"{self.kind}:{self.name}{mark}{self.ref}"

    @property
    def id(self) -> str:
        """The id of the project: all versions have the same id, so that a split keeps them together."""
        name = self.name
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
            f"{_shown(text)} is not a source: write npm:NAME@VERSION, pypi:NAME@VERSION, "
            "github:OWNER/NAME@COMMIT, git:URL@REF or path:FOLDER."
        )
    if kind == "path":
        return _path(rest)
    if kind == "git":
        return _git(rest)
    if kind == "github" and "#" in rest:
        name, _, ref = rest.partition("#")
        valid = _is_ref(ref, _MARKED_REF)
    else:
        name, at, ref = rest.rpartition("@") if rest.rfind("@") > 0 else (rest, "", "")
        valid = not at or _is_ref(ref, _REF if kind == "github" else _VERSION)
    if not valid or not _SHAPES[kind].fullmatch(name):
        raise ConfigError(f"{_shown(text)} is not a source: its name or version is not valid for {kind}.")
    return Source("npm" if kind == "npm" else "pypi" if kind == "pypi" else "github", name, ref or None)


def _is_ref(ref: str, shape: re.Pattern[str]) -> bool:
    return shape.fullmatch(ref) is not None and ".." not in ref and not _TOKEN.fullmatch(ref)


def _path(rest: str) -> Source:
    try:
        folder = Path(rest).expanduser().resolve()
        is_url = "://" in rest or ("@" in rest and not folder.is_dir())
    except (OSError, ValueError, RuntimeError) as error:  # such as an unknown ~user, a loop of links
        raise ConfigError(f"{_shown(f'path:{rest}')} is not a source: {why_unreadable(error)}.") from error
    if is_url:
        raise ConfigError(
            "A path source is not a source: it is not a folder. Write git:URL for a repository."
        )
    path = str(folder)
    if not path.isprintable():
        raise ConfigError(
            f"path:{printable(path)} is not a source: its name is not UTF-8, or has control characters. "
            "Rename the folder."
        )
    return Source("path", path)


def _git(rest: str) -> Source:
    url, marked, ref = rest.rpartition("#")
    has_path = "://" not in url or "/" in url.rpartition("://")[2]  # else `#` stands in a password
    valid = _is_ref(ref, _MARKED_REF) and has_path
    if not marked:
        match = re.fullmatch(r"(.*[^@/:]/[^@]*?)(?:@([^@/:]+))?", rest)  # not the @ of git@host
        url, ref = match.groups() if match else (rest, None)
        valid = ref is None or _is_ref(ref, _REF)
    if not valid:
        raise ConfigError(
            "A git source is not valid: its branch, tag or commit is no name that git allows, or is a token. "
            "A name with / or @ needs a #: git:URL#REF."
        )
    try:
        name, credentials = parse_git_url(url)
    except ConfigError as error:
        raise ConfigError(f"A git source is not valid: {error.message}.") from None
    return Source("git", name, ref, credentials)


def _shown(text: str) -> str:
    """Return what a message may show of a mistyped source: a text with `@` or `://` may hold a token."""
    if "@" in text or "://" in text:
        kind = text.strip().partition(":")[0]
        return f"'{kind}:...'" if kind in get_args(SourceKind) else "'...'"
    return f"'{printable(text, 100)}'"


def read_list(path: Path) -> list[Source]:
    """Read a list file: one source on each line with # for comments, or TOML with `sources = [...]`."""
    try:
        text = path.read_text(encoding="utf-8")
        document: dict[str, Any] = tomllib.loads(text) if path.suffix == ".toml" else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"The list {path} cannot be read: {error}") from error
    lines: Any = document.get("sources", []) if path.suffix == ".toml" else text.split("\n")
    if not isinstance(lines, list):
        raise ConfigError(f"The list {path} cannot be read: `sources` is not a list.")
    sources: list[Source] = []
    for number, line in enumerate(map(str, cast(list[object], lines)), 1):
        if line.strip() and not line.startswith("#"):
            try:
                sources.append(parse_source(line.split(" #")[0]))
            except ConfigError as error:
                raise ConfigError(f"{path}, entry {number}: {error.message}") from None
    if not sources:
        raise ConfigError(f"The list {path} has no source: write one on each line.")
    return sources
