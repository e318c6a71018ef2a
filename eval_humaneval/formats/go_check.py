"""How Go's sets are judged: without packages `testing` and `testify`, by a program that has a main."""

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
"""What solutions are allowed to use, each with a name of its own."""

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
    """The packages of the block of imports."""
    block = re.search(r"^import \((.*?)\)", prompt, re.DOTALL | re.MULTILINE)
    return re.findall(r'"(.+?)"', block[1]) if block else []


def split_package(prompt: str, packages: Iterable[str]) -> tuple[str, str]:
    """The head, importing those of `packages` that `prompt` does not, and `prompt` without its clause."""
    rest = re.sub(r"\A\s*package \w+\n+", "", prompt)
    there = imports(prompt)
    added = "".join(f'\t"{package}"\n' for package in packages if package not in there)
    return f"package main\n\nimport (\n{added})\n\n", rest


def uses(packages: Iterable[str]) -> str:
    """To Go an import that is not used is an error: a solution may do without what the prompt imports."""
    return "\n" + "".join(f"var _ = {PACKAGES[package]}\n" for package in packages if package in PACKAGES)


def with_main(tests: str) -> str:
    """`tests` is one `func TestX(t *testing.T)`; main calls it. The program imports fmt."""
    name = re.search(r"^func (Test\w*)\(t \*testing\.T\)", tests, re.MULTILINE)
    if name is None:
        raise ValueError("there is no `func Test...(t *testing.T)` in the tests")
    own = tests.replace("*testing.T", "*testingT")
    return f"{own}\n{_TESTING}\nfunc main() {{\n\t{name[1]}(&testingT{{}})\n\t{VERDICT_MARK}\n}}\n"
