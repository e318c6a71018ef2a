"""README and docs: run each page's commands in an environment that has what the page's install line installs.

test_pages.toml lists every command, and what runs in its place where the command would take hours or need a
network, a GPU or a large model. A command that is not listed fails the first tests, which are fast.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from acepilot.models.registry import models_dir
from tests.finetune.training.train_run import free_port
from tests.needs import need_model, need_program

ROOT = Path(__file__).parents[1]
COMMAND_S = 300
"""Time limit of one command; the longest, a training run, takes 30 s."""

PROGRAMS = ("python", "deepspeed", "acepilot-lsp")
SHELL = (
    "cat",
    "chmod",
    "code",
    "curl",
    "du",
    "export",
    "git",
    "make",
    "mkdir",
    "printf",
    "pytest",
    "sudo",
    "tar",
)
DATABASES = ("pg_dump", "pg_restore", "psql", "sqlite3")
OTHERS = (*SHELL, *DATABASES, "docker", "helm", "kubectl", "ollama", "vllm")
"""Programs that no extra of ours installs."""

SUBCOMMANDS = (
    "python -m bench",
    "python -m acepilot.models",
    "python -m eval_humaneval",
    "python -m server stats",
)
SERVE = "serve "
MAKE_RUN = "make run"
"""Counts as an install line: it installs `.[server,lsp]`."""

DEVELOPMENT = ""
"""Stands for the environment of `make test`, on pages without an install line."""


@dataclass(frozen=True)
class Run:
    """A command, the exit code that it must have, and a text that it must print."""

    run: str
    code: int = 0
    prints: str = ""

    @classmethod
    def of(cls, command: str, entry: bool | str | dict[str, Any]) -> "Run":
        """Return what to run for the page's command, by its entry in test_pages.toml."""
        if isinstance(entry, dict):
            return cls(entry.get("run", command), entry.get("code", 0), entry.get("prints", ""))
        if entry == "--help":
            return cls(help_of(command))
        return cls(entry if isinstance(entry, str) else command)


def help_of(command: str) -> str:
    """Return the command that prints the help of this command's program and subcommand."""
    words = [word for word in command.split() if "=" not in word]
    if words[0] == "deepspeed":
        return "deepspeed --help && python finetune/train.py --help"
    known = 3 if words[1] == "-m" else 2
    if " ".join(words[:known]) in SUBCOMMANDS and len(words) > known and not words[known].startswith("-"):
        known += 1
    return f"{' '.join(words[:known])} --help"


PAGES: dict[str, dict[str, dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
ALSO = PAGES.pop("also")


def commands_in(block: str) -> Iterator[str]:
    """Yield the commands of a shell block, without comments, line breaks and here documents."""
    text, end = "", ""
    for line in block.splitlines():
        if end:
            end = "" if line == end else end
            continue
        text += line.removesuffix("\\") if line.endswith("\\") else f"{line}\n"
        if line.endswith("\\"):
            continue
        try:
            words = shlex.split(text, comments=True)
        except ValueError:  # a quotation goes on in the next line
            continue
        if document := re.search(r"<<(\w+)", text):
            end = document[1]
        text = ""
        if words:
            words[0] = words[0].removeprefix(".venv/bin/")
            yield shlex.join(words).removesuffix(" '&'")


def install_line(words: str) -> str | None:
    """Return what an install line installs, or None if the command installs no extra."""
    if words == MAKE_RUN:
        return MAKE_RUN
    found = re.fullmatch(r"pip install (.+\[[a-z,]+\].*)", words)
    return found[1] if found else None


def parse(page: str) -> dict[str, list[str]]:
    """Return the commands after each install line; commands before the first one count as after it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    before: list[str] = []
    current: list[str] = before
    for indented in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        for command in commands_in(textwrap.dedent(indented)):
            installed = install_line(command)
            words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word)]
            if installed:
                current = found.setdefault(installed, [])
            elif words[0] in PROGRAMS:
                current.append(" ".join(shlex.split(command)))
            else:
                assert words[0] in OTHERS, f"{page}: what is `{command}`?"
    for inline in re.findall(r"`(pip install [^`]+)`", text):
        if installed := install_line(shlex.join(shlex.split(inline))):
            found.setdefault(installed, [])
    if before:
        first = next(iter(found), DEVELOPMENT)
        found[first] = before + found.get(first, [])
    return found


ALL_PAGES = sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
)


@pytest.mark.parametrize("page", ALL_PAGES)
def test_every_command_of_a_page_is_listed(page: str) -> None:
    assert parse(page) == {line: list(commands) for line, commands in PAGES.get(page, {}).items()}


def test_every_page_and_install_line_is_there() -> None:
    assert PAGES.keys() <= set(ALL_PAGES)
    assert ALSO.keys() <= {line for lines in PAGES.values() for line in lines}


@pytest.mark.parametrize("page", ALL_PAGES)
def test_commands_stand_in_shell_blocks(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    for language, block in blocks:
        assert language == "sh" or not re.search(r"^ *(python|pip|deepspeed|make) ", block, re.MULTILINE)


@dataclass(frozen=True)
class Environment:
    """Where commands run: in `source`, a copy of the repository, with the programs that `line` installed."""

    line: str
    programs: Path
    source: Path
    places: dict[str, str]

    def variables(self) -> dict[str, str]:
        dropped = ("PYTHONPATH", "VIRTUAL_ENV", "HF_TOKEN")
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in dropped and not name.startswith("ACEPILOT_")
        }
        path = f"{self.programs}:{os.environ['PATH']}"
        home = self.places["home"]
        return {**kept, "PATH": path, "ACEPILOT_HOME": home, "HF_HOME": home, "HF_HUB_OFFLINE": "1"}

    def check(self, run: Run) -> None:
        text = run.run
        for name, place in {**self.places, "port": str(free_port())}.items():
            text = text.replace(f"{{{name}}}", place)
        if text.startswith(SERVE):
            self.serve(text.removeprefix(SERVE))
            return
        done = subprocess.run(
            ["bash", "-c", text], cwd=self.source, env=self.variables(), capture_output=True, text=True,
            timeout=COMMAND_S,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert done.returncode == run.code, f"{text}\n{output}"
        assert run.prints in " ".join(output.split()), f"{text}\n{output}"

    def serve(self, arguments: str) -> None:
        """Start the server, ask it for a completion, and stop it."""
        port = free_port()
        log = self.source / "server.log"
        with log.open("w") as out:
            server = subprocess.Popen(
                [self.programs / "python", "-m", "server", "--port", str(port), *shlex.split(arguments)],
                cwd=self.source, env=self.variables(), stdout=out, stderr=out,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + COMMAND_S
            while not answers(f"http://127.0.0.1:{port}/ready"):
                failed = server.poll() is not None or "model_failed" in log.read_text()
                assert not failed, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/completions",
                b'{"prompt": "def f(x):", "max_tokens": 4}',
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=COMMAND_S) as answer:
                assert answer.status == 200
        finally:
            server.terminate()
            server.wait(COMMAND_S)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Return the folders of models and code that commands name in braces."""
    from tests.finetune.convert.tiny_models import a_model  # torch: not for the fast tests

    need_model("starter-tiny")
    need_program("bwrap", "apt-get install bubblewrap")
    code, home = tmp_path / "code", tmp_path / "home"
    (home / "models").mkdir(parents=True)
    (home / "models" / "starter-tiny").symlink_to(models_dir() / "starter-tiny")
    shutil.copytree(ROOT / "acepilot", code / "package", ignore=shutil.ignore_patterns("__pycache__"))
    words = {"text": "def add(a, b):\n    return a + b\n", "language": "python"}
    (code / "own-words.jsonl").write_text(json.dumps(words))
    models = {family: a_model(tmp_path / family, family) for family in ("codegen", "qwen2")}
    return {name: str(path) for name, path in {**models, "code": code, "home": home}.items()}


@pytest.fixture
def environment(
    request: pytest.FixtureRequest, places: dict[str, str], tmp_path: Path
) -> Iterator[Environment]:
    """Yield a copy of the repository with what `request.param` installs: up to 3 GB, removed at the end."""
    source = tmp_path / "acepilot"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, files.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    try:
        yield Environment(request.param, install(request.param, tmp_path / "venv", source), source, places)
    finally:
        shutil.rmtree(tmp_path)


def install(line: str, target: Path, source: Path) -> Path:
    """Install what the line names into `target`, and return the folder of its programs."""
    if line == DEVELOPMENT:
        return Path(sys.executable).parent
    installed = "-e '.[server,lsp]'" if line == MAKE_RUN else line
    words = shlex.split(installed.replace("/path/to/acepilot", str(source)))
    subprocess.run([sys.executable, "-m", "venv", target], check=True)
    subprocess.run([target / "bin/python", "-m", "pip", "install", "--quiet", *words], cwd=source, check=True)
    return target / "bin"


LINES = sorted({line for lines in PAGES.values() for line in lines})


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("environment", LINES, indirect=True)
def test_what_is_installed_runs_the_commands_of_its_pages(environment: Environment) -> None:
    of_pages = [lines.get(environment.line, {}) for lines in PAGES.values()]
    for commands in (*of_pages, ALSO.get(environment.line, {})):
        for command, entry in commands.items():
            environment.check(Run.of(command, entry))
