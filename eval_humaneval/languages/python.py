"""Run Python programs, and render the built-in problems in Python."""

from eval_humaneval.languages.base import LanguageAdapter, Tool
from eval_humaneval.languages.naming import prose, type_names
from eval_humaneval.problems.builtin import Case, Rendered, Spec
from eval_humaneval.problems.problem import VERDICT_MARK

STOPS = ("\ndef ", "\nclass ", "\nif ", "\nprint", "\n@", "\n#", "\nassert", "\nimport ", "\nfrom ", '\n"""')

CHECK = """\
def _check(got, expected):
    if not _same(got, expected):
        raise AssertionError(f"{got!r} instead of {expected!r}")


def _same(got, expected):
    # A Counter or a defaultdict is a dict, too: its items are read without asking its own methods.
    if type(expected) is dict and isinstance(got, dict):
        items = dict(dict.items(got))
        if any(type(key) is not str for key in items) or items.keys() != expected.keys():
            return False
        return all(_same(items[key], expected[key]) for key in expected)
    if type(expected) is float and type(got) is int:  # as Python's own type hints allow
        got = float(got)
    if type(got) is not type(expected):
        return False
    if type(expected) is list:
        return len(got) == len(expected) and all(map(_same, got, expected))
    if type(expected) is float:
        return abs(got - expected) <= 1e-9 * max(1, abs(expected))
    return got == expected
"""


type_name = type_names({}, {"list": "list[{}]", "dict": "dict[str, {}]", "optional": "{} | None"})


def call(spec: Spec, case: Case) -> str:
    return f"{spec.name}({', '.join(map(repr, case.arguments))})"


def render(spec: Spec) -> Rendered:
    parameters = ", ".join(f"{param.name}: {type_name(param.type)}" for param in spec.params)
    text = prose(spec.text, lambda name: f"`{name}`")
    shown = [line for case in spec.examples for line in (f">>> {call(spec, case)}", repr(case.returns))]
    lines = [f'"""{text[0]}', *text[1:], "", *shown, '"""']
    doc = "".join(f"    {line}\n" if line else "\n" for line in lines)
    checks = "".join(f"_check({call(spec, case)}, {case.returns!r})\n" for case in spec.tests)
    return Rendered(
        prompt=f"def {spec.name}({parameters}) -> {type_name(spec.returns)}:\n{doc}",
        stops=STOPS,
        tail=f"\n\n{CHECK}\n\n{checks}{VERDICT_MARK}\n",
    )


PYTHON = LanguageAdapter(
    label="Python",
    source_name="main.py",
    # Isolated from the user's environment, and without site-packages, which halves the start-up time.
    run=("python3", "-I", "-S", "main.py"),
    tools=(Tool("python3", "apt-get install python3"),),
    verdict="print('{0}' + '{1}')",
    render=render,
)
