"""Run JavaScript programs, and render the built-in problems in JavaScript."""

import json
import re
from collections.abc import Sequence

from eval_humaneval.languages.base import LanguageAdapter, Limits, Tool
from eval_humaneval.languages.naming import camel, prose
from eval_humaneval.problems.builtin import Case, Rendered, Spec, Type, Value
from eval_humaneval.problems.problem import VERDICT_MARK

STOPS = ("\n}", "\nfunction ", "\n/*", "\n//", "\nconst ", "\nlet ", "\nconsole.", "\nmodule.", "\nexport ")

CHECK = """\
function _check(got, expected) {
  if (!_same(got, expected)) {
    throw new Error(`${JSON.stringify(got)} instead of ${JSON.stringify(expected)}`);
  }
}

function _same(got, expected) {
  if (typeof expected === "number") {
    return typeof got === "number" && Math.abs(got - expected) <= 1e-9 * Math.max(1, Math.abs(expected));
  }
  if (expected === null || typeof expected !== "object") {
    return got === expected;
  }
  if (Array.isArray(expected)) {
    return Array.isArray(got) && got.length === expected.length
      && expected.every((item, i) => _same(got[i], item));
  }
  if (got == null || ![Object.prototype, null].includes(Object.getPrototypeOf(got))) {
    return false;
  }
  const keys = Object.keys(expected);
  return Object.keys(got).length === keys.length
    && keys.every((key) => Object.hasOwn(got, key) && _same(got[key], expected[key]));
}
"""

NODE = Tool("node", "apt-get install nodejs")

LIMITS = Limits(address_space_mb=2048)
"""Node 20 reserves 770 MB of address space before the program starts, Node 24 twice as much."""

RUN = ("node", "main.js")  # no flag for V8: each one costs 6 ms


def literal(value: Value) -> str:
    match value:
        case [*items]:
            return f"[{', '.join(map(literal, items))}]"
        case {**entries}:
            pairs = ", ".join(f"{_key(key)}: {literal(item)}" for key, item in entries.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case float():
            return json.dumps(value).removesuffix(".0")
        case _:
            return json.dumps(value)


def type_name(declared: Type) -> str:
    """Return the type in TypeScript's notation, which JSDoc uses as well."""
    match declared:
        case Type("list", Type() as item):
            name = type_name(item)
            return f"({name})[]" if item.name == "optional" else f"{name}[]"
        case Type("dict", Type() as item):
            return f"Record<string, {type_name(item)}>"
        case Type("optional", Type() as item):
            return f"{type_name(item)} | null"
        case _:
            return {"int": "number", "float": "number", "str": "string", "bool": "boolean"}[declared.name]


def call(spec: Spec, case: Case) -> str:
    return f"{camel(spec.name)}({', '.join(map(literal, case.arguments))})"


def doc_comment(spec: Spec, tags: Sequence[str]) -> str:
    text = prose(spec.text, lambda name: f"`{camel(name)}`")
    examples = [f"{call(spec, case)}; // {literal(case.returns)}" for case in spec.examples]
    lines = [*text, "", *tags, "@example", *examples]
    return "".join(["/**\n", *(f" * {line}".rstrip() + "\n" for line in lines), " */\n"])


def tests(spec: Spec) -> str:
    checks = "".join(f"_check({call(spec, case)}, {literal(case.returns)});\n" for case in spec.tests)
    return f"\n}}\n\n{CHECK}\n{checks}{VERDICT_MARK}\n"


def render(spec: Spec) -> Rendered:
    tags = [f"@param {{{type_name(param.type)}}} {camel(param.name)}" for param in spec.params]
    doc = doc_comment(spec, [*tags, f"@returns {{{type_name(spec.returns)}}}", ""])
    parameters = ", ".join(camel(param.name) for param in spec.params)
    return Rendered(f"{doc}function {camel(spec.name)}({parameters}) {{\n", STOPS, tests(spec))


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_$][\w$]*", key) else json.dumps(key)


JAVASCRIPT = LanguageAdapter(
    label="JavaScript",
    source_name="main.js",
    run=RUN,
    tools=(NODE,),
    verdict="console.log('{0}' + '{1}');",
    limits=LIMITS,
    render=render,
)
