"""Run PHP programs, and render the built-in problems in PHP."""

import json

from eval_humaneval.languages.base import LanguageAdapter, Tool
from eval_humaneval.languages.naming import camel, prose
from eval_humaneval.problems.builtin import Case, Rendered, Spec, Type, Value
from eval_humaneval.problems.problem import VERDICT_MARK

STOPS = ("\n}", "\nfunction ", "\n/*", "\n//", "\n#", "\necho", "\n?>", "\nprint", "\nclass ", "\n$")

CHECK = """\
function _check($got, $expected)
{
    if (!_same($got, $expected)) {
        throw new Exception(json_encode($got) . ' instead of ' . json_encode($expected));
    }
}

function _same($got, $expected)
{
    if (is_float($expected)) {
        return is_float($got) && abs($got - $expected) <= 1e-9 * max(1, abs($expected));
    }
    if (!is_array($expected)) {
        return $got === $expected;
    }
    if (!is_array($got) || count($got) !== count($expected)) {
        return false;
    }
    if (array_is_list($got) !== array_is_list($expected)) {
        return false;
    }
    foreach ($expected as $key => $item) {
        if (!array_key_exists($key, $got) || !_same($got[$key], $item)) {
            return false;
        }
    }
    return true;
}
"""


def literal(value: Value) -> str:
    match value:
        case str():
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            return f"'{escaped}'"
        case [*items]:
            return f"[{', '.join(map(literal, items))}]"
        case {**entries}:
            return f"[{', '.join(f'{literal(key)} => {literal(item)}' for key, item in entries.items())}]"
        case _:
            return json.dumps(value)


def declared_type(declared: Type) -> str:
    """Return the type for a signature, where an array has no item type."""
    if declared.name == "optional" and declared.item is not None:
        return f"?{declared_type(declared.item)}"
    return {"str": "string", "list": "array", "dict": "array"}.get(declared.name, declared.name)


def doc_type(declared: Type) -> str:
    """Return the type for a doc comment."""
    match declared:
        case Type("list", Type() as item):
            name = doc_type(item)
            return f"({name})[]" if item.name == "optional" else f"{name}[]"
        case Type("dict", Type() as item):
            return f"array<string, {doc_type(item)}>"
        case Type("optional", Type() as item):
            return f"{doc_type(item)}|null"
        case _:
            return declared_type(declared)


def call(spec: Spec, case: Case) -> str:
    return f"{camel(spec.name)}({', '.join(map(literal, case.arguments))})"


def render(spec: Spec) -> Rendered:
    lines = [
        *prose(spec.text, lambda name: f"`${camel(name)}`"),
        "",
        *(f"    {call(spec, case)}; // {literal(case.returns)}" for case in spec.examples),
        "",
        *(f"@param {doc_type(param.type)} ${camel(param.name)}" for param in spec.params),
        f"@return {doc_type(spec.returns)}",
    ]
    doc = "".join(f" * {line}".rstrip() + "\n" for line in lines)
    parameters = ", ".join(f"{declared_type(param.type)} ${camel(param.name)}" for param in spec.params)
    signature = f"function {camel(spec.name)}({parameters}): {declared_type(spec.returns)}"
    checks = "".join(f"_check({call(spec, case)}, {literal(case.returns)});\n" for case in spec.tests)
    return Rendered(
        prompt=f"<?php\n\n/**\n{doc} */\n{signature}\n{{\n",
        stops=STOPS,
        tail=f"\n}}\n\n{CHECK}\n{checks}{VERDICT_MARK}\n",
    )


PHP = LanguageAdapter(
    label="PHP",
    source_name="main.php",
    # Debian's settings print no errors and do not limit memory.
    run=(
        *("php", "-d", "display_errors=stderr", "-d", "log_errors=0", "-d", "memory_limit=256M"),
        "main.php",
    ),
    tools=(Tool("php", "apt-get install php-cli"),),
    verdict="echo '{0}' . '{1}', PHP_EOL;",
    render=render,
)
