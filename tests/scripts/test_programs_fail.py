"""Every program, given what it must refuse, prints a sentence as text and ends with the documented code."""

import importlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
ODD = "weird[/x][bold]:smile:dir"

BAD_SETTINGS = f"{ODD}/home/acepilot.toml is not valid TOML"
"""All of them read ACEPILOT_HOME/acepilot.toml."""

# Command line, the code of the error in the tree, what must be printed.
ROWS: dict[str, tuple[list[str], int, str]] = {
    "server": (["--model", "starter"], 2, BAD_SETTINGS),
    "server stats": ([], 2, BAD_SETTINGS),
    "lsp": ([], 2, BAD_SETTINGS),
    "eval_humaneval": (["run"], 2, BAD_SETTINGS),
    "finetune/train.py": (["--config", f"{ODD}/none.yaml"], 2, f"There is no recipe {ODD}/none.yaml"),
    "finetune.export": ([ODD], 1, f"{ODD} is not a run with a checkpoint"),
    "bench_sandbox": (["--problems", f"{ODD}/none.jsonl"], 2, f"{ODD}/none.jsonl"),
    "bench_server": (["--model", ODD], 2, f"{ODD} holds no GGUF file"),
    "bench_suffix": (["--model", ODD], 1, f"its output is in {{folder}}/{ODD}/"),
    "build_corpus": ([ODD, "--out", "corpus"], 2, f"{ODD} has no sources.jsonl"),
    "damage_model": ([f"{ODD}/none"], 1, f"There is no model `{ODD}/none`"),
    "export_model": ([f"{ODD}/none", "--to", "gguf", "--out", "out"], 1, f"There is no model `{ODD}/none`"),
    "fetch_model": (["fetch", "starter-tiny"], 2, f"{{folder}}/{ODD}/home/acepilot.toml cannot be written"),
    "fuzz": ([], 1, f"its output is in {{folder}}/{ODD}/"),
    "lock": (["--upgrade-package", ODD], 1, f"invalid value '{ODD}'"),
    "plan_capacity": (["--card", ODD], 2, f"invalid choice: '{ODD}'"),
    "plot_benchmarks": ([f"{ODD}/none.json", "--out", "out"], 1, f"directory: '{ODD}/none.json'"),
    "profile_openvino": (["--model", f"{ODD}/none"], 1, f"There is no model `{ODD}/none`"),
    "promote_model": (["add", f"{ODD}/none"], 1, f"{ODD}/none"),
    "replay_story": (["--folder", f"{ODD}/file"], 1, f"{ODD}/file'"),
    "replay_typing": (["--model", ODD, "--developers", "0"], 2, f"{ODD} holds no GGUF file"),
    "run": ([], 2, BAD_SETTINGS),
    "sample_replay": (
        ["--out", f"{ODD}/x", "--languages", "python", "--count", "1", "--url", "http://127.0.0.1:9"],
        1,
        f"samples in {ODD}/x are kept",
    ),
    "scrape_repos": (["--out", "out", "--list", f"{ODD}/none"], 2, f"The list {ODD}/none cannot be read"),
    "simulate_gate": (["--draws", ODD], 2, f"invalid int value: '{ODD}'"),
    "soak": (["--model", ODD], 1, f"its output is in {{folder}}/{ODD}/"),
    "split_run": ([ODD], 2, f"{ODD}"),
    "try_versions": ([ODD], 2, f"invalid choice: '{ODD}'"),
}  # fmt: skip

DOOR = re.compile(r"^from (\S+) import main$", re.MULTILINE)

MODULES = {
    "server": "server.__main__",
    "server stats": "server.__main__",
    "eval_humaneval": "eval_humaneval.cli",
    "finetune.export": "finetune.export",
}
APART = {
    # They change how this process logs, imports or ends.
    "lsp": ["-m", "lsp"],
    "finetune/train.py": [str(ROOT / "finetune/train.py")],
    "replay_story": [str(ROOT / "scripts/replay_story.py")],
}
NOT_HERE = {"bench_gpu", "bench_torch", "bench_train"}
"""Nothing that a user names can be wrong in them."""


def documented(program: str, code: int) -> int:
    """What docs/reference/exit-codes.md says instead of an error's own `code`."""
    for named, one_code in re.findall(r"^\| (`.*?`) \| (\d+) \|", TABLE, re.MULTILINE):
        if f"`python -m {program.partition(' ')[0]}`" in named:
            return int(one_code)
        if f"`scripts/{program}.py`" in named:
            return int(one_code)
    return code


def behind(script: str) -> str:
    """The module whose `main` the script calls."""
    found = DOOR.search((ROOT / "scripts" / f"{script}.py").read_text(encoding="utf-8"))
    assert found, script
    return found[1]


def _nothing(*_: object) -> list[Any]:
    return []


def _itself(given: Path) -> Path:
    return given


def prepared(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program's module, without the slow or downloading steps before the refusal."""
    module: Any = importlib.import_module(MODULES.get(program) or behind(program))
    if program == "bench_server":
        monkeypatch.setattr(module, "measure_machine", _nothing)
    elif program == "bench_suffix":
        monkeypatch.setattr(module, "holes", _nothing)
    elif program == "fuzz":
        monkeypatch.setattr(module, "make_tiny_model", _itself)
    elif program == "replay_typing":
        monkeypatch.setattr(module, "source_files", _nothing)
    elif program == "fetch_model":
        monkeypatch.setenv("ACEPILOT_HOME", str(folder / ODD / "home" / "acepilot.toml"))
    elif program == "bench_sandbox":
        (folder / ODD / "home" / "acepilot.toml").unlink()
    return module


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory. Settings are broken, temporary files have an odd path. Signals and variables are
    put back."""
    home = tmp_path / ODD / "home"
    home.mkdir(parents=True)
    (home / "acepilot.toml").write_text("[server")
    (tmp_path / ODD / "file").write_text("not a folder")
    for name in [name for name in os.environ if name.startswith("ACEPILOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ACEPILOT_HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ODD))
    before = signal.getsignal(signal.SIGTERM)
    with mock.patch.dict(os.environ):  # programs set variables for those that they start
        yield tmp_path
    signal.signal(signal.SIGTERM, before)


def test_no_script_is_forgotten() -> None:
    scripts = {path.stem for path in (ROOT / "scripts").glob("[!_]*.py")}
    assert scripts - NOT_HERE == {name for name in ROWS if name in scripts}


@pytest.mark.parametrize("program", ROWS)
def test_a_program_refuses_in_a_sentence(
    program: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words, code, said = ROWS[program]
    if program in APART:
        done = subprocess.run(
            [sys.executable, *APART[program], *words],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        returned, printed = done.returncode, done.stderr
    else:
        module = prepared(program, folder, monkeypatch)
        monkeypatch.setattr(sys, "argv", [program, *program.split()[1:], *words])
        try:
            returned = module.main()
        except SystemExit as error:  # argparse
            returned = error.code
        printed = capfd.readouterr().err
    assert said.format(folder=folder) in printed
    assert re.search(r"(^|: )error: ", printed, re.MULTILINE)
    assert "Traceback" not in printed
    assert returned == documented(program, code)
