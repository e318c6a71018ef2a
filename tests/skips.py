"""A pytest plugin: the last line of a run says how many tests were skipped, and which commands make them run.

In CI (the variable CI is true) a skip that ALLOWED does not have fails its test.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

import pytest


@dataclass(frozen=True)
class Allowed:
    """Tests whose skip, for this `reason`, is no error in CI. Both are patterns as in a shell."""

    tests: str
    reason: str
    why: str


ALLOWED = (
    Allowed("tests/deploy/test_deploy.py::*", "helm is missing: *", "Debian has no package of it."),
    Allowed("tests/deploy/test_deploy.py::*", "hadolint is missing: *", "Debian has no package of it."),
    Allowed(
        "tests/eval_humaneval/formats/test_formats_programs.py::*",
        "* is not in a clone",
        "The published sets of problems are others' to publish.",
    ),
    Allowed("tests/*_gpu.py::*", "there is no CUDA card", "CI's machines have none."),
    Allowed("tests/*_vllm.py::*", "vLLM is missing: *", "It needs an environment of its own."),
    Allowed("tests/*::test_vllm_*", "vLLM is missing: *", "It needs an environment of its own."),
    Allowed("tests/*::test_llama_cpp_*", "llama.cpp is missing: *", "Debian 12 has no package of it."),
)

SEPARATE_RUNS = {"slow": "make test-slow", "e2e": "make e2e", "gpu": ".venv/bin/pytest -m gpu"}
"""Marker -> what runs the tests that have it."""

INSTALLERS = {"apt-get install": "Debian packages", "pip install": "Python packages"}
"""The beginning of a command that takes several names -> what the names are."""

_MISSING = re.compile(r"(.+) (?:is|are) missing: (.+)")
_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)


def pytest_configure(config: pytest.Config) -> None:
    in_ci = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
    config.pluginmanager.register(Skips(config, in_ci=in_ci))


class Skips:
    """One run's skips."""

    def __init__(self, config: pytest.Config, *, in_ci: bool) -> None:
        self._config = config
        self._in_ci = in_ci
        self._reasons: list[str] = []
        self._used: set[Allowed] = set()
        self._selected: list[str] = []
        self._separate: Counter[str] = Counter()

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        marks = [mark for item in items for mark in SEPARATE_RUNS if item.get_closest_marker(mark)]
        self._separate.update(marks)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._selected = [item.nodeid for item in session.items]

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        return self._judged((yield))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        return self._judged((yield))

    def pytest_unconfigure(self) -> None:
        """After pytest's own last line."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is None:
            return
        if self._in_ci and self._config.args_source is pytest.Config.ArgsSource.TESTPATHS:
            for entry in self._stale():
                terminal.write_line(f"tests/skips.py allows a skip that no test made: {entry}")
        if line := summary(self._reasons, self._separate):
            terminal.write_line(line)

    def _judged(self, report: _Report) -> _Report:
        if not report.skipped or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
            return report
        reason = report.longrepr[2].removeprefix("Skipped: ")
        allowed = {
            entry
            for entry in ALLOWED
            if fnmatchcase(report.nodeid, entry.tests) and fnmatchcase(reason, entry.reason)
        }
        self._used |= allowed
        if self._in_ci and not allowed:
            report.outcome = "failed"
            report.longrepr = (
                f"CI allows no skip for this reason (tests/skips.py has those it does): {reason}"
            )
        else:
            self._reasons.append(reason)
        return report

    def _stale(self) -> list[Allowed]:
        """Entries that no skip needed, although the tests they name ran."""
        return [
            entry
            for entry in ALLOWED
            if entry not in self._used and any(fnmatchcase(name, entry.tests) for name in self._selected)
        ]


def summary(reasons: Sequence[str], separate: Mapping[str, int]) -> str:
    """One line: how many tests were skipped, and the commands that would make them run; "" where there is
    nothing to say.

    `separate` counts the tests that have a run of their own, by marker.
    """
    if not (reasons or separate):
        return ""
    counts: Counter[str] = Counter()
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for reason in reasons:
        found = _MISSING.fullmatch(reason)
        what, command = found.groups() if found else ("", "")
        installer = next((words for words in INSTALLERS if command.startswith(f"{words} ")), "")
        counts[installer or command] += 1
        wanted[installer or command].update(command.removeprefix(installer).split() if installer else [what])
    needs: list[str] = []
    for command, count in counts.most_common():
        names = sorted(wanted[command])
        if not command:
            needs.append(f"{count} cannot run here (.venv/bin/pytest -rs says why)")
        elif command in INSTALLERS:
            needs.append(f"{count} need {INSTALLERS[command]} ({command} {' '.join(names)})")
        else:
            needs.append(f"{count} need {', '.join(names)} ({command})")
    line = f"{len(reasons)} skipped: {', '.join(needs)}" if needs else "0 skipped"
    apart = ", ".join(f"{count} {mark} ({SEPARATE_RUNS[mark]})" for mark, count in separate.items())
    return f"{line}; deselected: {apart}" if apart else line
