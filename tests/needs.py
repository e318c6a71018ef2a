"""What a test needs beyond the development environment: where it is missing, the test is skipped.

The reason names the command that gets it; tests/skips.py sums the reasons up.
"""

import shutil
from typing import NoReturn

import pytest

from acepilot.models.registry import is_whole


def reason(what: str, command: str) -> str:
    """The reason of a skip that `command` would lift."""
    return f"{what} is missing: {command}"


def missing(what: str, command: str) -> NoReturn:
    """Skip the test: it runs after `command`, which installs `what`."""
    pytest.skip(reason(what, command))


def need_program(name: str, command: str) -> str:
    """The path of the program `name`; skips the test where PATH has none."""
    return shutil.which(name) or missing(name, command)


def need_model(name: str) -> None:
    """Skip the test where the model `name` has not been fetched."""
    if not is_whole(name):
        missing(name, f"python scripts/fetch_model.py {name}")
