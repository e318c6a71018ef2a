"""How programs end (a message and an exit code per error, Ctrl-C, closed pipes), and plain-text consoles."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.table import Table

from acepilot.cli import program, text_console
from acepilot.errors import AcepilotError, CannotListen, ConfigError

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
ODD = "weird[/x][bold]:smile:[red"
GO_ON = "Run the same command again to continue."


def failing(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (AcepilotError(f"{ODD} failed."), 1, f"error: {ODD} failed.\n"),
        (ConfigError(f"{ODD} is wrong."), 2, f"error: {ODD} is wrong.\n"),
        (CannotListen(f"{ODD} is taken."), 3, f"error: {ODD} is taken.\n"),
        (
            PermissionError(13, "Permission denied", ODD),
            1,
            f"error: [Errno 13] Permission denied: '{ODD}'.\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_is_a_sentence_and_a_code(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program()(failing(error))() == code
    assert capsys.readouterr() == ("", message)


def test_a_program_whose_codes_are_verdicts_has_one_for_all_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    judging = program(error_code=7)
    for error in (ConfigError("wrong"), AcepilotError("failed"), OSError("full"), ZeroDivisionError()):
        assert judging(failing(error))() == 7
    assert judging(failing(KeyboardInterrupt()))() == 130
    assert judging(lambda: 2)() == 2
    capsys.readouterr()


def test_a_program_that_resumes_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert program(resumes=True)(failing(KeyboardInterrupt()))() == 130
    assert program(resumes=True)(failing(OSError("The disk is full")))() == 1
    assert capsys.readouterr().err == f"Stopped. {GO_ON}\nerror: The disk is full. {GO_ON}\n"


@pytest.mark.parametrize("fault", [ZeroDivisionError("by nought"), TimeoutError()])  # the second says nothing
def test_a_bug_of_ours_prints_a_traceback(fault: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert program()(failing(fault))() == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert type(fault).__name__ in printed
    assert printed.endswith("error: this is a bug in Acepilot; please report it with the lines above.\n")


def test_argparse_and_our_own_exits_keep_their_codes() -> None:
    with pytest.raises(SystemExit) as caught:
        program()(failing(SystemExit(5)))()
    assert caught.value.code == 5


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "line",
    [
        "print('x')",  # still in the buffer when main is done
        "print('x' * 1_000_000)",
        "text_console().print('x' * 1_000_000)",  # rich exits by itself
    ],
)
def test_a_closed_pipe_is_no_error(line: str, unbuffered: str) -> None:
    main = (
        f"import sys\nfrom acepilot.cli import program, text_console\n@program()\ndef main():\n    {line}\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", f"{main}    return 0\nsys.exit(main())"]
    done = subprocess.run(
        command,
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        cwd=ROOT,
        text=True,
        timeout=30,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_another_broken_pipe_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert program()(failing(BrokenPipeError(32, "Broken pipe")))() == 1
    assert capsys.readouterr().err == "error: [Errno 32] Broken pipe.\n"


def test_a_text_console_prints_text(capsys: pytest.CaptureFixture[str]) -> None:
    console = text_console()
    console.print(f"{ODD} and {'long ' * 50}end")
    table = Table(ODD, title=ODD)
    table.add_row(ODD)
    console.print(table)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{ODD} and {'long ' * 50}end\n")
    assert printed.count(ODD) == 4


def test_printing_errors_does_not_import_rich() -> None:
    program = "import sys; import acepilot.cli; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=30).returncode == 0


def errors(kind: type[AcepilotError] = AcepilotError) -> Iterator[type[AcepilotError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from errors(below)


def test_the_documented_codes_are_those_of_the_error_tree() -> None:
    documented = {
        int(code): set(re.findall(r"`(\w+)`", named))
        for code, named in re.findall(r"^\| (\d+) \|.*\|([^|]*)\|$", TABLE, re.MULTILINE)
    }
    assert set(documented) == {0, 1, 2, 3, 130, 141}
    found = {error.__name__: error.exit_code for error in errors() if error.exit_code != 1}
    assert found == {name: code for code, names in documented.items() for name in names}
