"""tests/skips.py: what a run says of its skips, and which of them fail in CI."""

from pathlib import Path

import pytest

from tests.skips import summary

pytest_plugins = ["pytester"]

SKIPPING = """
import pytest

def test_runs():
    pass

@pytest.mark.skipif(True, reason="go is missing: apt-get install golang-go")
def test_marked():
    pass

def test_needs_a_tool():
    pytest.skip("cc is missing: apt-get install gcc")

@pytest.mark.xfail
def test_fails_as_expected():
    assert False
"""
ALLOWED = """
import pytest

def test_a_chart():
    pytest.skip("helm is missing: https://helm.sh")
"""
LINE = "2 skipped: 2 need Debian packages (apt-get install gcc golang-go)"


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs pytest with the plugin, where CI is `ci`, on a file of this text."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))

    def run(text: str, ci: str, name: str = "tests/test_some.py", *flags: str) -> pytest.RunResult:
        file = pytester.path / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
        pytester.makepyprojecttoml('[tool.pytest.ini_options]\ntestpaths = ["tests"]\nmarkers = ["slow"]\n')
        monkeypatch.setenv("CI", ci)
        return pytester.runpytest_subprocess("-p", "tests.skips", *flags)

    return run


@pytest.mark.parametrize("ci", ["", "false"])
def test_a_run_ends_with_its_skips_and_their_command(run, ci: str) -> None:
    result = run(SKIPPING, ci)
    result.assert_outcomes(passed=1, skipped=2, xfailed=1)
    assert result.ret == 0
    assert result.outlines[-1] == LINE
    assert "2 skipped" in result.outlines[-2]


def test_in_ci_a_skip_that_is_not_allowed_fails_its_test(run) -> None:
    result = run(SKIPPING, "true")
    result.assert_outcomes(passed=1, failed=1, errors=1, xfailed=1)  # a mark fails before the test begins
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["CI allows no skip for this reason*: go is missing: apt-get install golang-go"]
    )


def test_in_ci_a_file_that_skips_itself_is_an_error(run) -> None:
    result = run("import pytest\npytest.skip('x is missing: y', allow_module_level=True)\n", "1")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["CI allows no skip for this reason*: x is missing: y"])


def test_in_ci_an_allowed_skip_is_one(run) -> None:
    result = run(ALLOWED, "true", "tests/deploy/test_deploy.py")
    result.assert_outcomes(skipped=1)
    assert result.ret == 0
    # hadolint's entry is for the same file, and no test was skipped for it
    result.stdout.fnmatch_lines(["tests/skips.py allows a skip that no test made: *hadolint*"])
    result.stdout.no_fnmatch_line("tests/skips.py allows a skip*helm is*")
    assert result.outlines[-1] == "1 skipped: 1 need helm (https://helm.sh)"


def test_a_part_of_the_tests_says_nothing_of_what_is_allowed(run) -> None:
    result = run(ALLOWED, "true", "tests/deploy/test_deploy.py", "tests/deploy")
    result.stdout.no_fnmatch_line("tests/skips.py allows*")


def test_tests_with_a_run_of_their_own_are_named(run) -> None:
    result = run(
        "import pytest\n@pytest.mark.slow\ndef test_long(): pass\n", "", "tests/test_a.py", "-m", "not slow"
    )
    assert result.outlines[-1] == "0 skipped; deselected: 1 slow (make test-slow)"


def test_a_summary_names_every_command_once() -> None:
    reasons = [
        *3 * ["bwrap and go are missing: apt-get install bubblewrap golang-go"],
        "g++ is missing: apt-get install g++",
        *2 * ["starter is missing: python scripts/fetch_model.py starter"],
        "the two models offer the same everywhere",
    ]
    assert summary(reasons, {"slow": 7}) == (
        "7 skipped: 4 need Debian packages (apt-get install bubblewrap g++ golang-go), "
        "2 need starter (python scripts/fetch_model.py starter), "
        "1 cannot run here (.venv/bin/pytest -rs says why); "
        "deselected: 7 slow (make test-slow)"
    )


def test_a_summary_of_nothing_is_empty() -> None:
    assert summary([], {}) == ""
