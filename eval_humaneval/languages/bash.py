"""Run Bash scripts, and render the built-in problems in Bash.

Only problems that suit a script are rendered. Arguments are numbers, strings and at most one list, whose
items come last. A function prints a number, a string or a list with one item per line. A bool is the exit
status 0 or 1; the output of such a function and the status of the others are ignored.
"""

import re

from eval_humaneval.languages.base import LanguageAdapter, Tool
from eval_humaneval.languages.naming import prose
from eval_humaneval.problems.builtin import Case, Param, Rendered, Spec, Type, Value
from eval_humaneval.problems.problem import VERDICT_MARK

# Expected values are arguments only: the tested function would see the variables of these functions.
CHECK = r"""_check_output() {
    _got=$("${@:2}")
    if [[ "$_got" != "$1" ]]; then
        printf '%s printed %q instead of %q\n' "$2" "$_got" "$1" >&2
        exit 1
    fi
}

_check_status() {
    ("${@:2}") >/dev/null
    _got=$?
    if [[ "$_got" != "$1" ]]; then
        printf '%s returned %s instead of %s\n' "$2" "$_got" "$1" >&2
        exit 1
    fi
}
"""


def text_literal(text: str) -> str:
    if text.isprintable():
        return "'" + text.replace("'", r"'\''") + "'"
    escaped = text.replace("\\", r"\\").replace("'", r"\'")
    return "$'" + "".join(char if char.isprintable() else f"\\{ord(char):03o}" for char in escaped) + "'"


def word(value: Value) -> str:
    return text_literal(value) if isinstance(value, str) else str(value)


def list_last(param: Param) -> bool:
    """Return a sort key that puts a list last."""
    return param.type.name == "list"


def call(spec: Spec, case: Case) -> str:
    values = dict(zip(spec.params, case.arguments, strict=True))
    words = [spec.name]
    for param in sorted(spec.params, key=list_last):
        value = values[param]
        words += map(word, value) if param.type.name == "list" else [word(value)]
    return " ".join(words)


def declaration(spec: Spec) -> str:
    """Return the line that names the arguments; the prompt has it instead of a parameter list."""
    names: list[str] = []
    for number, param in enumerate(sorted(spec.params, key=list_last), 1):
        rest = '("$@")' if number == 1 else f'("${{@:{number}}}")'
        names.append(f"{param.name}={rest}" if param.type.name == "list" else f'{param.name}="${number}"')
    return f"local {' '.join(names)}"


def printed(value: Value, declared: Type) -> str:
    if declared.name == "bool":
        return "0" if value else "1"
    if value is None:
        return ""
    return "\n".join(map(str, value)) if declared.name == "list" else str(value)


def doc_text(spec: Spec) -> str:
    text = re.sub(r"\bReturn\b", "Print", spec.text)
    if spec.returns.name == "bool":
        return f"{text} The exit status is 0 if so, and 1 if not."
    return f"{text} Each item is printed on a line of its own." if spec.returns.name == "list" else text


def example(spec: Spec, case: Case) -> list[str]:
    shown = f"$ {call(spec, case)}" + ("; echo $?" if spec.returns.name == "bool" else "")
    return [shown, *printed(case.returns, spec.returns).splitlines()]


def render(spec: Spec) -> Rendered:
    examples = [f"  {line}" for case in spec.examples for line in example(spec, case)]
    text = prose(doc_text(spec), lambda name: f"${name}")
    doc = "".join(f"# {line}".rstrip() + "\n" for line in [*text, "", "Example:", *examples])
    check = "_check_status" if spec.returns.name == "bool" else "_check_output"
    checks = "".join(
        f"{check} {text_literal(printed(case.returns, spec.returns))} {call(spec, case)}\n"
        for case in spec.tests
    )
    return Rendered(
        prompt=f"#!/usr/bin/env bash\n\n{doc}{spec.name}() {{\n    {declaration(spec)}\n",
        stops=("\n}",),
        tail=f"\n}}\n\n{CHECK}\n{checks}{VERDICT_MARK}\n",
    )


BASH = LanguageAdapter(
    label="Bash",
    source_name="main.sh",
    # Finds syntax errors. A program with a compile step also sees /etc/alternatives, which awk needs.
    compile=("bash", "-n", "main.sh"),
    run=("bash", "main.sh"),
    tools=(Tool("bash", "apt-get install bash"),),
    verdict="printf '%s%s\\n' '{0}' '{1}'",
    render=render,
)
