"""mxeval (github.com/amazon-science/mxeval): HumanEval and MBPP, translated with their tests.

The program is prompt, completion, test. Only Python's canonical solutions are used: in other languages a
model wrote them, and many fail. The tests' packages lodash and CompareNETObjects are replaced here.
"""

import re
from typing import ClassVar

from eval_humaneval.formats import go_check, python_check
from eval_humaneval.formats.base import Ending, Record, at_end, at_end_of_main, task_of
from eval_humaneval.formats.openai import check_tail
from eval_humaneval.problems.problem import Problem

# For lodash 0 equals -0; for Node it does not.
JAVASCRIPT_IS_EQUAL = """\
const _ = {
  isEqual: (a, b) =>
    Array.isArray(a) && Array.isArray(b)
      ? a.length === b.length && a.every((item, at) => _.isEqual(item, b[at]))
      : a === b || require("node:util").isDeepStrictEqual(a, b),
};
"""

PHP_PUBLISHED_COMPARE = """\
function compare($x, $y) {
    return $x == $y;
}
"""

# For the published one, `true` equals every non-empty string and array; 370 of the 786 MBXP solutions that
# pass it pass only for this reason.
PHP_COMPARE = """\
function compare($x, $y) {
    if (is_array($x) && is_array($y)) {
        foreach ($y as $key => $value) {
            if (!array_key_exists($key, $x) || !compare($x[$key], $value)) return false;
        }
        return count($x) == count($y);
    }
    return is_bool($x) == is_bool($y) && is_null($x) == is_null($y) && $x == $y;
}
"""

CSHARP_COMPARE = """
namespace KellermanSoftware.CompareNetObjects
{
    public class ComparisonResult
    {
        public bool AreEqual;
    }

    public class CompareLogic
    {
        public ComparisonResult Compare(object x, object y)
        {
            return new ComparisonResult { AreEqual = Same(x, y) };
        }

        private static bool Same(object x, object y)
        {
            var xs = x as System.Collections.IDictionary;
            var ys = y as System.Collections.IDictionary;
            if (xs != null && ys != null)
            {
                foreach (var key in ys.Keys)
                    if (!xs.Contains(key) || !Same(xs[key], ys[key])) return false;
                return xs.Count == ys.Count;
            }
            var left = x as System.Collections.IList;
            var right = y as System.Collections.IList;
            if (left == null || right == null) return Equals(x, y);
            if (left.Count != right.Count) return false;
            for (var at = 0; at < right.Count; at++)
                if (!Same(left[at], right[at])) return false;
            return true;
        }
    }
}
"""


class MxevalRecord(Record):
    format: ClassVar[str] = "mxeval"

    task_id: str
    language: str
    prompt: str
    entry_point: str
    test: str
    canonical_solution: str | None = None

    def language_name(self) -> str:
        return self.language

    def problem(self) -> Problem | None:
        match self.language:
            case "python":
                canonical = self.canonical_solution or ""
                # In MBPP, helper functions may follow the function.
                stops = tuple(stop for stop in python_check.STOPS if stop not in canonical)
                ending = Ending(stops, self.canonical_solution, "\n")
                return self._problem(ending, check_tail(self.test, self.entry_point))
            case "javascript":
                lodash = re.compile(r'const _ = require\("lodash"\)\n')
                return self._braced(at_end(lodash.sub(lambda _: JAVASCRIPT_IS_EQUAL, self.test)))
            case "typescript":
                return self._braced(at_end(self.test))
            case "java":
                ending = Ending(("\n    }",), None, "\n    }\n}\n")
                return self._problem(ending, at_end_of_main(self.test, depth=2))
            case "cpp":
                return self._braced(at_end_of_main(self.test, depth=1))
            case "go":
                head, prompt = go_check.split_package(self.prompt, ("fmt",))
                uses = go_check.uses((*go_check.imports(self.prompt), "fmt"))
                return self._braced(at_end_of_main(self.test, depth=1) + uses, head=head, prompt=prompt)
            case "csharp":
                ending = Ending(("\n        }",), None, "\n        }\n")
                return self._problem(ending, at_end_of_main(self.test, depth=3) + CSHARP_COMPARE)
            case "php":
                return self._braced(at_end(self.test.replace(PHP_PUBLISHED_COMPARE, PHP_COMPARE)))
            case "ruby":
                # The expected value must be the one that compares, not an object of the candidate.
                tests = re.sub(r"^if (x\d+) != (v\d+)$", r"if \2 != \1", self.test, flags=re.MULTILINE)
                return self._problem(Ending(("\nend",), None, "\nend\n"), at_end(tests))
            case _:
                return None

    def _braced(self, tests: str, *, head: str = "", prompt: str = "") -> Problem:
        ending = Ending(("\n}",), None, "\n}\n")
        return self._problem(ending, tests, head=head, prompt=prompt)

    def _problem(self, ending: Ending, tests: str, *, head: str = "", prompt: str = "") -> Problem:
        task = task_of(r"(HumanEval|MB)\w*/(\d+)", self.task_id)
        name, base = ("mxeval", "HumanEval") if task[1] == "HumanEval" else ("mbxp", "MBPP")
        return Problem(
            id=f"{name}/{self.language}/{task[2]}",
            cluster=f"{base}/{task[2]}",
            language=self.language,
            head=head,
            prompt=prompt or self.prompt,
            stops=ending.stops,
            tail=ending.closing + tests,
            canonical=ending.canonical,
        )
