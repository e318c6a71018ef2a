"""Run Ruby programs, and render the built-in problems in Ruby."""

import json
import re

from eval_humaneval.languages.base import LanguageAdapter, Tool
from eval_humaneval.languages.naming import prose, type_names
from eval_humaneval.problems.builtin import Case, Rendered, Spec, Value
from eval_humaneval.problems.problem import VERDICT_MARK

STOPS = ("\nend", "\ndef ", "\n#", "\nputs", "\nclass ", "\nmodule ", "\nrequire", "\np ", "\n=begin")

CHECK = """\
def _check(got, expected)
  raise "#{got.inspect} instead of #{expected.inspect}" unless _same(got, expected)
end

def _same(got, expected)
  got = got.to_f if Float === expected && Integer === got
  return false unless expected.class === got

  case expected
  when Array
    got.size == expected.size && expected.each_index.all? { |i| _same(got[i], expected[i]) }
  when Hash
    got.size == expected.size && expected.all? { |key, item| got.key?(key) && _same(got[key], item) }
  when Float
    (got - expected).abs <= 1e-9 * [1, expected.abs].max
  else
    expected == got
  end
end
"""


def literal(value: Value) -> str:
    match value:
        case None:
            return "nil"
        case str():
            return re.sub(r"#(?=[{$@])", r"\\#", json.dumps(value))
        case [*items]:
            return f"[{', '.join(map(literal, items))}]"
        case {**entries}:
            pairs = ", ".join(f"{literal(key)} => {literal(item)}" for key, item in entries.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            return json.dumps(value)


type_name = type_names(
    {"int": "Integer", "float": "Float", "str": "String", "bool": "Boolean"},
    {"list": "Array<{}>", "dict": "Hash{{String => {}}}", "optional": "{}, nil"},
)
"""Returns the type in YARD's notation."""


def call(spec: Spec, case: Case) -> str:
    return f"{spec.name}({', '.join(map(literal, case.arguments))})"


def render(spec: Spec) -> Rendered:
    lines = [
        *prose(spec.text, lambda name: f"`{name}`"),
        "",
        *(f"@param {param.name} [{type_name(param.type)}]" for param in spec.params),
        f"@return [{type_name(spec.returns)}]",
        "",
        "@example",
        *(f"  {call(spec, case)} # => {literal(case.returns)}" for case in spec.examples),
    ]
    doc = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    parameters = ", ".join(param.name for param in spec.params)
    checks = "".join(f"_check({call(spec, case)}, {literal(case.returns)})\n" for case in spec.tests)
    return Rendered(
        prompt=f"{doc}def {spec.name}({parameters})\n",
        stops=STOPS,
        tail=f"\nend\n\n{CHECK}\n{checks}{VERDICT_MARK}\n",
    )


RUBY = LanguageAdapter(
    label="Ruby",
    source_name="main.rb",
    # Gems take 25 ms, but a completion may require those of prime and matrix. Set is loaded, because Ruby
    # 3.2 and later have it without a `require`.
    run=("ruby", "--disable=did_you_mean,error_highlight", "-rset", "main.rb"),
    tools=(Tool("ruby", "apt-get install ruby"),),
    verdict="puts '{0}' + '{1}'",
    render=render,
)
