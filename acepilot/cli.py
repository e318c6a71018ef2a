"""How every program prints text and ends: a sentence and an exit code, see docs/reference/exit-codes.md."""

import contextlib
import functools
import os
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

from acepilot.errors import AcepilotError
from acepilot.untrusted_text import escaped

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130  # 128 + SIGINT, as shells count
PIPE_CLOSED = 141  # 128 + SIGPIPE
GO_ON = "Run the same command again to continue."

_Given = ParamSpec("_Given")


def program(
    *, error_code: int | None = None, resumes: bool = False
) -> Callable[[Callable[_Given, int]], Callable[_Given, int]]:
    """Decorate a program's `main`: an error is printed as a sentence, and its exit code is returned.

    `error_code` replaces the exit codes of all errors, for programs whose other codes are verdicts. With
    `resumes`, the message says that the same command continues where it stopped.
    """

    def decorated(main: Callable[_Given, int]) -> Callable[_Given, int]:
        @functools.wraps(main)
        def run(*args: _Given.args, **kwargs: _Given.kwargs) -> int:
            _open_standard_files()
            try:
                code = main(*args, **kwargs)
                if not sys.stdout.closed:
                    sys.stdout.flush()  # here a closed pipe can still be handled
                return code
            except KeyboardInterrupt:
                if resumes:
                    print_line(f"Stopped. {GO_ON}")
                return INTERRUPTED
            except AcepilotError as error:
                print_error(error.message)
                return error_code or error.exit_code
            except SystemExit as error:
                if isinstance(error.__context__, BrokenPipeError):  # rich exits when the pipe is closed
                    return PIPE_CLOSED
                raise
            except Exception as error:
                if isinstance(error, BrokenPipeError) and _reader_is_gone():
                    return PIPE_CLOSED
                if isinstance(error, OSError) and str(error):  # the disk, a path, the network
                    print_error(f"{error}. {GO_ON}" if resumes else f"{error}.")
                else:
                    sys.excepthook(type(error), error, error.__traceback__)
                    print_error("this is a bug in Acepilot; please report it with the lines above.")
                return error_code or AcepilotError.exit_code

        return run

    return decorated


def print_error(sentence: str) -> None:
    """Print `error:` and the sentence on standard error."""
    is_red = sys.stderr is not None and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    _print(("\x1b[31merror:\x1b[0m " if is_red else "error: ") + escaped(sentence))


def print_line(text: str) -> None:
    """Print on standard error, without characters that a terminal might obey."""
    _print(escaped(text))


def _print(text: str) -> None:
    """Print on standard error. If it is closed, its disk full or its reader gone, the program goes on."""
    if sys.stderr is not None:  # print would take standard output
        with contextlib.suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)


def text_console(*, stderr: bool = False) -> "Console":
    """Return a rich console that prints strings unchanged, in tables too.

    By default, rich takes `[x]` in a path for markup and `:x:` for an emoji, and breaks long lines.
    """
    from rich.console import Console  # slow to import, and the servers do not need it

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _open_standard_files() -> None:
    """Open the null device in place of closed standard files.

    Otherwise the next file or socket would get their numbers, and libraries would write messages into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the smallest free number
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _reader_is_gone() -> bool:
    """Return True when the reader of standard output or error is gone; discard the remaining output."""
    if sys.platform == "win32":  # Windows has no poll, and other errors for a closed pipe
        return False
    outputs = select.poll()
    for output in (1, 2):
        outputs.register(output, 0)  # poll reports errors for every event mask
    closed = [output for output, event in outputs.poll(0) if event & select.POLLERR]
    for output in closed:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output)
        os.close(nowhere)
    return bool(closed)
