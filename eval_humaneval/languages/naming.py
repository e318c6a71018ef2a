"""Turn a spec's names and prose into those of one language, for the adapters."""

import re
import textwrap
from collections.abc import Callable, Mapping

from eval_humaneval.problems.builtin import Case, Spec, Type, Value


def camel(name: str) -> str:
    """Turn `full_name` into fullName."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def pascal(name: str) -> str:
    """Turn `full_name` into FullName."""
    return "".join(map(str.capitalize, name.split("_")))


def octal_literal(text: str) -> str:
    r"""Return `text` in double quotes, with octal escapes: \x could take further characters of the text."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\{ord(char):03o}" for char in escaped) + '"'


def prose(text: str, mark: Callable[[str], str]) -> list[str]:
    """Wrap `text` for a doc comment; `mark` writes the parameters, which `text` has in backquotes. A NO-BREAK
    SPACE in a mark keeps it on one line, and becomes a space."""
    marked = re.sub(r"`(\w+)`", lambda match: mark(match[1]), text)
    lines = textwrap.wrap(marked, 88, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def arguments(spec: Spec, case: Case, literal: Callable[[Value, Type], str]) -> str:
    """Return the arguments of a call of the tested function; `literal` writes a value of a type."""
    pairs = zip(case.arguments, spec.params, strict=True)
    return ", ".join(literal(value, param.type) for value, param in pairs)


def type_names(scalars: Mapping[str, str], collections: Mapping[str, str]) -> Callable[[Type], str]:
    """Return a function that writes a type. `scalars` has those that the language calls otherwise; in
    `collections`, `{}` stands for the item's type."""

    def type_name(declared: Type) -> str:
        if declared.item is None:
            return scalars.get(declared.name, declared.name)
        return collections[declared.name].format(type_name(declared.item))

    return type_name
