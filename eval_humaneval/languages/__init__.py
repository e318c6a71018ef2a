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
from eval_humaneval.problems.builtin import Solution, Spec, solutions, specs
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
    """Return the built-in problems that have solutions in `language`; vue_problems.py has those of Vue."""
    solved = solutions(language)
    return tuple(_problem(language, spec, solved[spec.name]) for spec in specs() if spec.name in solved)


def _problem(language: str, spec: Spec, solution: Solution) -> Problem:
    render = ADAPTERS[language].render
    if render is None:
        raise ValueError(f"there are solutions in {language}, but its adapter renders no problems")
    rendered = render(spec)
    return Problem(
        id=f"builtin/{language}/{spec.name}",
        cluster=spec.name,
        language=language,
        prompt=rendered.prompt,
        stops=rendered.stops,
        tail=rendered.tail,
        head=rendered.head,
        canonical=solution.canonical,
        wrong=solution.wrong,
    )
