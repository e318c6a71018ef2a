"""Every program that is given wrong input prints one sentence and ends with the documented code."""

import importlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
ODD = "weird[/x][bold]:smile:dir"

BAD_SETTINGS = f"{ODD}/home/acepilot.toml is not valid TOML"
"""The message of every program that reads ACEPILOT_HOME/acepilot.toml."""

# Program -> arguments, the exit code that the error has in the code, text that must be printed.
ROWS: dict[str, tuple[list[str], int, str]] = {
    "server": (["--model", "starter"], 2, BAD_SETTINGS),
    "server stats": ([], 2, BAD_SETTINGS),
    "lsp": ([], 2, BAD_SETTINGS),
    "eval_humaneval": (["run"], 2, BAD_SETTINGS),
    "finetune/train.py": (["--config", f"{ODD}/none.yaml"], 2, f"There is no recipe {ODD}/none.yaml"),
    "finetune.export": ([ODD], 1, f"{ODD} is not a run with a checkpoint"),
    "bench_sandbox": (["--problems", f"{ODD}/none.jsonl"], 2, f"{ODD}/none.jsonl"),
    "bench_server": (["--model", ODD], 2, f"{ODD} holds no GGUF file"),
    "bench_suffix": (["--model", f"{ODD}/none"], 1, f"There is no model `{ODD}/none`"),
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
    "replay_typing": (["--model", ODD], 2, f"{ODD} holds no GGUF file"),
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

MAIN_IMPORT = re.compile(r"^from (\S+) import main$", re.MULTILINE)

MODULES = {
    "server": "server.__main__",
    "server stats": "server.__main__",
    "eval_humaneval": "eval_humaneval.cli",
    "finetune.export": "finetune.export",
}
IN_A_PROCESS = {
    # These programs change how the test's own process logs, imports or ends.
    "lsp": ["-m", "lsp"],
    "finetune/train.py": [str(ROOT / "finetune/train.py")],
    "replay_story": [str(ROOT / "scripts/replay_story.py")],
}
WITHOUT_INPUT = {"bench_gpu", "bench_torch", "bench_train"}
"""Scripts that take no name, path or address that could be wrong."""


def documented_code(program: str, code: int) -> int:
    """Return the exit code that docs/reference/exit-codes.md gives for the program, or else `code`."""
    for named, one_code in re.findall(r"^\| (`.*?`) \| (\d+) \|", TABLE, re.MULTILINE):
        if f"`python -m {program.partition(' ')[0]}`" in named:
            return int(one_code)
        if f"`scripts/{program}.py`" in named:
            return int(one_code)
    return code


def module_of(script: str) -> str:
    """Return the module whose `main` the script calls."""
    found = MAIN_IMPORT.search((ROOT / "scripts" / f"{script}.py").read_text(encoding="utf-8"))
    assert found, script
    return found[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the working directory. Settings are broken, and temporary files have an odd path.

    Signals and variables are restored.
    """
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
    with mock.patch.dict(os.environ):  # programs set variables for the programs that they start
        yield tmp_path
    signal.signal(signal.SIGTERM, before)


def test_every_script_is_in_the_table() -> None:
    scripts = {path.stem for path in (ROOT / "scripts").glob("[!_]*.py")}
    assert scripts - WITHOUT_INPUT == {name for name in ROWS if name in scripts}


@pytest.mark.parametrize("program", ROWS)
def test_a_program_explains_wrong_input_in_a_sentence(
    program: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments, code, message = ROWS[program]
    if program in IN_A_PROCESS:
        done = subprocess.run(
            [sys.executable, *IN_A_PROCESS[program], *arguments],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        returned, printed = done.returncode, done.stderr
    else:
        if program == "fetch_model":  # ACEPILOT_HOME is a file
            monkeypatch.setenv("ACEPILOT_HOME", str(folder / ODD / "home" / "acepilot.toml"))
        elif program == "bench_sandbox":  # reads the settings first: they must be right
            (folder / ODD / "home" / "acepilot.toml").unlink()
        module = importlib.import_module(MODULES.get(program) or module_of(program))
        monkeypatch.setattr(sys, "argv", [program, *program.split()[1:], *arguments])
        try:
            returned = module.main()
        except SystemExit as error:  # argparse
            returned = error.code
        printed = capfd.readouterr().err
    assert message.format(folder=folder) in printed
    assert re.search(r"(^|: )error: ", printed, re.MULTILINE)
    assert "Traceback" not in printed
    assert returned == documented_code(program, code)
