"""The languages of the evaluation, and the built-in problems rendered in each of them."""

from collections.abc import Mapping
from functools import cache

from eval_humaneval.languages.base import LanguageAdapter
from eval_humaneval.languages.bash import BASH
from eval_humaneval.languages.cpp import CPP
from eval_humaneval.languages.csharp import CSHARP
from eval_humaneval.languages.go import GO
from eval_humaneval.languages.java import JAVA
from eval_humaneval.languages.javascript import JAVASCRIPT
from eval_humaneval.languages.php import PHP
from eval_humaneval.languages.python import PYTHON
from eval_humaneval.languages.ruby import RUBY
from eval_humaneval.languages.rust import RUST
from eval_humaneval.languages.typescript import TYPESCRIPT
from eval_humaneval.languages.vue import VUE
from eval_humaneval.problems.builtin import Rendered, Solution, Spec, solutions, specs
from eval_humaneval.problems.problem import Problem

ADAPTERS: Mapping[str, LanguageAdapter] = {
    "python": PYTHON,
    "javascript": JAVASCRIPT,
    "typescript": TYPESCRIPT,
    "java": JAVA,
    "go": GO,
    "cpp": CPP,
    "rust": RUST,
    "php": PHP,
    "ruby": RUBY,
    "csharp": CSHARP,
    "bash": BASH,
    "vue": VUE,
}
"""Language id -> adapter, in the order of tables. Problems, results and options use these ids."""


@cache
def builtin_problems(language: str) -> tuple[Problem, ...]:
    """Return the problems of data/problems.toml that have solutions in `language`."""
    render, solved = ADAPTERS[language].render, solutions(language)
    if render is None:
        return ()
    return tuple(
        _problem(language, spec, render(spec), solved[spec.name]) for spec in specs() if spec.name in solved
    )


def _problem(language: str, spec: Spec, rendered: Rendered, solution: Solution) -> Problem:
    return Problem(
        id=f"builtin/{language}/{spec.name}",
        cluster=spec.name,
        language=language,
        prompt=rendered.prompt,
        stops=rendered.stops,
        tail=rendered.tail,
        canonical=solution.canonical,
        wrong=solution.wrong,
    )
