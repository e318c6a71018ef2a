"""MultiPL-E (github.com/nuprl/MultiPL-E, hub `nuprl/MultiPL-E`): HumanEval and MBPP, translated by programs.

The program is prompt, completion, newline, tests; the stops are the record's own. There are no canonical
solutions. Replacements of packages are here: Go's testing, Ruby's test/unit, Java's javatuples, C#'s Debug.
"""

import re
from typing import ClassVar

from eval_humaneval.formats import go_check, python_check
from eval_humaneval.formats.base import Record, at_end, at_end_of_main, task_of
from eval_humaneval.problems.problem import VERDICT_MARK, Problem

SCRIPT_LANGUAGES = {"js": "javascript", "ts": "typescript", "sh": "bash", "php": "php"}
"""The set's name -> ours, for languages with top-level statements."""

JAVA_MAIN = f"""
class Main {{
    static void check(boolean held) {{
        if (!held) throw new AssertionError();
    }}

    public static void main(String[] args) throws Exception {{
        Problem.main(args);
        {VERDICT_MARK}
    }}
}}
"""

JAVA_TUPLES = ("Unit", "Pair", "Triplet", "Quartet", "Quintet")

# Hides the Debug of System.Diagnostics, whose calls a release build omits.
CSHARP_DEBUG = """
static class Debug {
    public static void Assert(bool held) {
        if (!held) throw new System.Exception("an assertion failed");
    }
}
"""

RUBY_TEST_UNIT = """
module Test
  module Unit
    class TestCase
      def assert_equal(expected, actual)
        raise "#{actual.inspect} instead of #{expected.inspect}" unless expected == actual
      end
    end
  end
end
"""


class MultiPLERecord(Record):
    format: ClassVar[str] = "MultiPL-E"

    name: str
    language: str
    prompt: str
    tests: str
    stop_tokens: tuple[str, ...]

    def language_name(self) -> str:
        return {"go_test.go": "go", "python": "py"}.get(self.language, self.language)

    def problem(self) -> Problem | None:
        match self.language_name():
            case "py":
                checked = "    check(" + python_check.candidate(r"\1") + ")"
                called = re.sub(r"^    check\((\w+)\)$", checked, self.tests, flags=re.MULTILINE)
                return self._problem("python", python_check.tail(called))
            case "js" | "ts" | "sh" | "php" as name:
                return self._problem(SCRIPT_LANGUAGES[name], at_end(self.tests))
            case "cpp":
                return self._problem("cpp", at_end_of_main(self.tests, depth=1))
            case "rs":
                return self._problem("rust", at_end_of_main(self.tests, depth=1))
            case "cs":
                return self._problem("csharp", at_end_of_main(self.tests, depth=2) + CSHARP_DEBUG)
            case "rb":
                return self._problem("ruby", _ruby_tests(self.tests))
            case "go":
                prompt = re.sub(r"^package \w+", "package main", self.prompt, count=1, flags=re.MULTILINE)
                return self._problem("go", f"{go_check.with_main(self.tests)}\nvar _ *testing.T\n", prompt)
            case "java":
                prompt = self.prompt.replace("import org.javatuples.*;\n", "")
                tests = re.sub(r"^    assert\(", "    Main.check(", self.tests, flags=re.MULTILINE)
                tuples = "".join(_java_tuple(name, size) for size, name in enumerate(JAVA_TUPLES, 1))
                return self._problem("java", f"{tests}{tuples}{JAVA_MAIN}", prompt)
            case _:
                return None

    def _problem(self, language: str, tests: str, prompt: str = "") -> Problem:
        task = task_of(r"(HumanEval|mbpp)_(\d+)_\w+", self.name)
        base = "HumanEval" if task[1] == "HumanEval" else "MBPP"
        return Problem(
            id=f"multipl-e/{self.language_name()}/{self.name}",
            cluster=f"{base}/{task[2]}",
            language=language,
            prompt=prompt or self.prompt,
            stops=self.stop_tokens,
            tail=f"\n{tests}",
        )


def _ruby_tests(tests: str) -> str:
    name = re.search(r"^  def (test_\w+)", tests, re.MULTILINE)
    if name is None:
        raise ValueError("there is no method `test_...` in the tests")
    own = tests.replace("require 'test/unit'\n", RUBY_TEST_UNIT)
    return at_end(f"{own}\nTestHumanEval.new.{name[1]}")


def _java_tuple(name: str, size: int) -> str:
    """Return a class of org.javatuples, with `with`, `getValue0` and so on."""
    types = ", ".join(f"T{at}" for at in range(size))
    parameters = ", ".join(f"T{at} value{at}" for at in range(size))
    values = ", ".join(f"value{at}" for at in range(size))
    getters = "\n".join(
        f"    public T{at} getValue{at}() {{ return (T{at}) values.get({at}); }}" for at in range(size)
    )
    return f"""
@SuppressWarnings("unchecked")
class {name}<{types}> {{
    private final java.util.List<Object> values;
    public {name}({parameters}) {{ values = java.util.Arrays.asList({values}); }}
    public static <{types}> {name}<{types}> with({parameters}) {{ return new {name}<>({values}); }}
{getters}
    public boolean equals(Object other) {{
        return other instanceof {name} && values.equals((({name}<{", ".join("?" * size)}>) other).values);
    }}
    public int hashCode() {{ return values.hashCode(); }}
    public String toString() {{ return values.toString(); }}
}}
"""
