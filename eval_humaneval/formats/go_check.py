"""Judge Go's sets without the packages `testing` and `testify`, by a program with a main function."""

import re
from collections.abc import Iterable

from eval_humaneval.problems.problem import VERDICT_MARK

PACKAGES = {
    "bytes": "bytes.Equal",
    "crypto/md5": "md5.Sum",
    "fmt": "fmt.Sprint",
    "math": "math.Pi",
    "math/rand": "rand.Int",
    "reflect": "reflect.DeepEqual",
    "regexp": "regexp.MustCompile",
    "sort": "sort.Ints",
    "strconv": "strconv.Itoa",
    "strings": "strings.Split",
    "time": "time.Now",
}
"""The packages that solutions may use, each with one of its names."""

_TESTING = """
type testingT struct{}

func (t *testingT) Run(name string, test func(t *testingT)) { test(t) }

func (t *testingT) Errorf(format string, values ...interface{}) { panic(fmt.Sprintf(format, values...)) }
"""

TESTIFY = """
type assertions struct{}

func (assertions) New(t *testingT) assertions { return assertions{} }

func (assertions) Equal(expected, actual interface{}, message ...interface{}) {
	if !reflect.DeepEqual(expected, actual) {
		panic(fmt.Sprintf("%v instead of %v", actual, expected))
	}
}

var assert assertions
"""


def imports(prompt: str) -> list[str]:
    """Return the packages in the import block."""
    block = re.search(r"^import \((.*?)\)", prompt, re.DOTALL | re.MULTILINE)
    return re.findall(r'"(.+?)"', block[1]) if block else []


def split_package(prompt: str, packages: Iterable[str]) -> tuple[str, str]:
    """Return a head that imports the `packages` missing in `prompt`, and the prompt for it."""
    rest = re.sub(r"\A\s*package \w+\n+", "", prompt)
    there = imports(prompt)
    added = "".join(f'\t"{package}"\n' for package in packages if package not in there)
    return f"package main\n\nimport (\n{added})\n\n", rest


def uses(packages: Iterable[str]) -> str:
    """Use each of `packages`: Go rejects unused imports, and a solution may not need all of the prompt's."""
    return "\n" + "".join(f"var _ = {PACKAGES[package]}\n" for package in packages if package in PACKAGES)


def with_main(tests: str) -> str:
    """Add a main that calls the one `func TestX(t *testing.T)` of `tests`. The program must import fmt."""
    name = re.search(r"^func (Test\w*)\(t \*testing\.T\)", tests, re.MULTILINE)
    if name is None:
        raise ValueError("there is no `func Test...(t *testing.T)` in the tests")
    own = tests.replace("*testing.T", "*testingT")
    return f"{own}\n{_TESTING}\nfunc main() {{\n\t{name[1]}(&testingT{{}})\n\t{VERDICT_MARK}\n}}\n"
