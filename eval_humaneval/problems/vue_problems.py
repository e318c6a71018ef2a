"""The built-in Vue problems, data/vue/<name>.toml: they are judged by mounting the finished component.

A file has `text` (the task in one line), `prompt`, `stops`, `tail` (the rest of the component), `test`
(runtime/src/vue.ts defines what it may use), `canonical` and `wrong`.
"""

import tomllib
from functools import cache

from eval_humaneval.problems.builtin import DATA
from eval_humaneval.problems.problem import VERDICT_MARK, Problem

TEST_MARK = "// @acepilot:test"
"""The line between component and test, where runtime/src/vue-compile.ts splits them."""


@cache
def problems() -> tuple[Problem, ...]:
    """Return all Vue problems, in the order of their names."""
    return tuple(
        _problem(path.stem, path.read_text(encoding="utf-8"))
        for path in sorted((DATA / "vue").glob("*.toml"))
    )


def _problem(name: str, document: str) -> Problem:
    row = tomllib.loads(document)
    return Problem(
        id=f"builtin/vue/{name}",
        cluster=f"vue/{name}",
        language="vue",
        prompt=row["prompt"],
        stops=tuple(row["stops"]),
        tail=f"{row['tail']}\n{TEST_MARK}\n{row['test']}{VERDICT_MARK}\n",
        canonical=row["canonical"],
        wrong=row["wrong"],
    )
