"""HumanEval-X (github.com/THUDM/CodeGeeX, hub `THUDM/humaneval-x`): HumanEval in six languages.

The program is prompt, completion, test. Imports that a completion may use are added, as its authors do.
"""

import re
from typing import ClassVar

from eval_humaneval.formats import go_check, python_check
from eval_humaneval.formats.base import Ending, Record, at_end, at_end_of_main, end_at, task_of
from eval_humaneval.problems.problem import VERDICT_MARK, Problem

PYTHON_IMPORTS = """\
import collections, copy, datetime, functools, hashlib, heapq, itertools, math, re, statistics, string, sys
from collections import *
from typing import *
"""

CPP_HEADERS = "algorithm climits cstring iostream math.h stdio.h stdlib.h string vector"
CPP_INCLUDES = "".join(f"#include <{header}>\n" for header in CPP_HEADERS.split())

# Node's console.assert only prints; the exit code stays 0.
THROWING_ASSERT = "console.assert = (held) => { if (!held) throw new Error('an assertion failed'); };\n"


class HumanEvalXRecord(Record):
    format: ClassVar[str] = "HumanEval-X"

    task_id: str
    prompt: str
    declaration: str
    canonical_solution: str
    test: str
    example_test: str | None  # the prompt's examples; not used

    def language_name(self) -> str:
        return task_of(r"(\w+)/\d+", self.task_id)[1]

    def problem(self) -> Problem | None:
        match self.language_name():
            case "Python":
                return self._problem(
                    "python",
                    Ending(python_check.STOPS, self.canonical_solution, "\n"),
                    python_check.tail(_python_calls(self.test)),
                    head=PYTHON_IMPORTS,
                )
            case "JavaScript":
                return self._braced("js", THROWING_ASSERT + at_end(self.test))
            case "Java":
                ending = end_at("\n    }", self.canonical_solution, "\n    }\n}\n")
                return self._problem("java", ending, at_end_of_main(self.test, depth=2))
            case "CPP":
                return self._braced("cpp", at_end_of_main(self.test, depth=1), head=CPP_INCLUDES)
            case "Go":
                head, prompt = go_check.split_package(self.prompt, go_check.PACKAGES)
                tests = go_check.with_main(self.test) + go_check.TESTIFY + go_check.uses(go_check.PACKAGES)
                return self._braced("go", tests, head=head, prompt=prompt)
            case "Rust":
                return self._braced("rust", _rust_tests(self.test), prompt=self._rust_prompt())
            case _:
                return None

    def _braced(self, short: str, tests: str, *, head: str = "", prompt: str = "") -> Problem:
        ending = end_at("\n}", self.canonical_solution, "\n}\n")
        return self._problem(short, ending, tests, head=head, prompt=prompt)

    def _problem(
        self, short: str, ending: Ending, tests: str, *, head: str = "", prompt: str = ""
    ) -> Problem:
        number = self.task_id.partition("/")[2]
        return Problem(
            id=f"humaneval-x/{short}/{number}",
            cluster=f"HumanEval/{number}",
            language={"js": "javascript"}.get(short, short),
            head=head,
            prompt=prompt or self.prompt,
            stops=ending.stops,
            tail=ending.closing + tests,
            canonical=ending.canonical,
        )

    def _rust_prompt(self) -> str:
        """Return the function's head without main and crates. The published prompt is either the comment
        alone, or everything with an empty main. Only the standard library is installed."""
        whole = self.prompt if re.search(r"\bfn ", self.prompt) else self.prompt + self.declaration
        return re.sub(
            r"fn main\(\)\s*\{\s*\}\s*|^use (?:rand::Rng|regex::Regex|md5);\n", "", whole, flags=re.MULTILINE
        )


def _python_calls(tests: str) -> str:
    checked = "check(" + python_check.candidate(r"\1") + ")"
    own, calls = re.subn(r"^check\((\w+)\)\s*\Z", checked, tests, flags=re.MULTILINE)
    if not calls:
        raise ValueError("the tests do not end with a call of check")
    return own


def _rust_tests(tests: str) -> str:
    """Return the test module without its `cfg(test)`, and a main that calls its one test."""
    test = re.search(r"#\[test\]\s*(?://.*\s*)*fn (\w+)", tests)
    if test is None:
        raise ValueError("there is no #[test] in the tests")
    module = tests.replace("#[cfg(test)]", "").replace("#[test]", "pub")
    return f"{module}\nfn main() {{\n    tests::{test[1]}();\n    {VERDICT_MARK}\n}}\n"
