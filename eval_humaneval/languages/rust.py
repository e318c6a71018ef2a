"""Run Rust programs, and render the built-in problems in Rust.

Strings and collections are borrowed as arguments (`&str`, `&[i32]`, `&[&str]`) and owned as results.
"""

import json

from eval_humaneval.languages.base import LanguageAdapter, Limits, Tool
from eval_humaneval.languages.naming import arguments, prose, type_names
from eval_humaneval.problems.builtin import Case, Rendered, Spec, Type, Value
from eval_humaneval.problems.problem import VERDICT_MARK

IMPORTS = "use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};\n"

MAX_EXAMPLE = 96
"""Columns of the longest line that rustfmt does not split, without `/// `."""

CHECK = """\
trait Same {
    fn same(&self, expected: &Self) -> bool;
}

macro_rules! same_when_equal {
    ($($name:ty),*) => {
        $(impl Same for $name {
            fn same(&self, expected: &Self) -> bool {
                self == expected
            }
        })*
    };
}

same_when_equal!(i32, bool, String);

impl Same for f64 {
    fn same(&self, expected: &Self) -> bool {
        (self - expected).abs() <= 1e-9 * expected.abs().max(1.0)
    }
}

impl<T: Same> Same for Option<T> {
    fn same(&self, expected: &Self) -> bool {
        match (self, expected) {
            (Some(got), Some(wanted)) => got.same(wanted),
            (got, wanted) => got.is_none() && wanted.is_none(),
        }
    }
}

impl<T: Same> Same for Vec<T> {
    fn same(&self, expected: &Self) -> bool {
        self.len() == expected.len() && self.iter().zip(expected).all(|(got, wanted)| got.same(wanted))
    }
}

impl<T: Same> Same for HashMap<String, T> {
    fn same(&self, expected: &Self) -> bool {
        let found = |(key, wanted): (&String, &T)| self.get(key).map_or(false, |got| got.same(wanted));
        self.len() == expected.len() && expected.iter().all(found)
    }
}

fn check<T: Same + std::fmt::Debug>(number: i32, got: T, expected: T) {
    assert!(got.same(&expected), "test case {}: {:?} instead of {:?}", number, got, expected);
}
"""


owned_type = type_names(
    {"int": "i32", "float": "f64", "str": "String"},
    {"list": "Vec<{}>", "dict": "HashMap<String, {}>", "optional": "Option<{}>"},
)


def argument_type(declared: Type) -> str:
    if declared.name == "str":
        return "&str"
    if declared.name == "list" and declared.item is not None:
        return "&[&str]" if declared.item.name == "str" else f"&[{owned_type(declared.item)}]"
    return f"&{owned_type(declared)}" if declared.name == "dict" else owned_type(declared)


def text_literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in escaped) + '"'


def scalar(value: Value, declared: Type) -> str:
    if declared.name == "str":
        return text_literal(value)
    return repr(value) if declared.name == "float" else json.dumps(value)


def owned(value: Value, declared: Type) -> str:
    """Return `value` as an expression of its owned type."""
    if declared.item is None:
        return scalar(value, declared) + (".into()" if declared.name == "str" else "")
    item = declared.item
    if declared.name == "optional":
        return "None" if value is None else f"Some({owned(value, item)})"
    if declared.name == "list":
        return f"vec![{', '.join(owned(element, item) for element in value)}]"
    if not value:
        return "HashMap::new()"
    pairs = (f"({text_literal(key)}.into(), {owned(element, item)})" for key, element in value.items())
    return f"HashMap::from([{', '.join(pairs)}])"


def argument(value: Value, declared: Type) -> str:
    if declared.name == "list" and declared.item is not None:
        item = declared.item
        write = scalar if item.name == "str" else owned
        return f"&[{', '.join(write(element, item) for element in value)}]"
    if declared.name == "dict":
        return f"&{owned(value, declared)}"
    return scalar(value, declared) if declared.item is None else owned(value, declared)


def call(spec: Spec, case: Case) -> str:
    return f"{spec.name}({arguments(spec, case, argument)})"


def example(spec: Spec, case: Case) -> list[str]:
    """Return the lines of a doc test. They compare a returned String with a string literal."""
    got, returns = call(spec, case), spec.returns
    if returns.name == "bool":
        return [f"assert!({'' if case.returns else '!'}{got});"]
    if returns == Type("list", Type("str")):
        expected = f"vec![{', '.join(map(text_literal, case.returns))}]"
    else:
        expected = (scalar if returns.item is None else owned)(case.returns, returns)
    line = f"assert_eq!({got}, {expected});"
    return [line] if len(line) <= MAX_EXAMPLE else ["assert_eq!(", f"    {got},", f"    {expected}", ");"]


def render(spec: Spec) -> Rendered:
    examples = ["```", *(line for case in spec.examples for line in example(spec, case)), "```"]
    text = prose(spec.text, lambda name: f"`{name}`")
    doc = "".join(f"/// {line}".rstrip() + "\n" for line in [*text, "", *examples])
    parameters = ", ".join(f"{param.name}: {argument_type(param.type)}" for param in spec.params)
    checks = "".join(
        f"    check({number}, {call(spec, case)}, {owned(case.returns, spec.returns)});\n"
        for number, case in enumerate(spec.tests, 1)
    )
    return Rendered(
        prompt=f"{IMPORTS}\n{doc}fn {spec.name}({parameters}) -> {owned_type(spec.returns)} {{\n",
        stops=("\n}",),
        tail=f"\n}}\n\n{CHECK}\nfn main() {{\n{checks}    {VERDICT_MARK}\n}}\n",
    )


RUST = LanguageAdapter(
    label="Rust",
    source_name="main.rs",
    compile=(
        *("rustc", "--edition", "2021", "-A", "warnings"),
        *("-C", "opt-level=0", "-C", "debuginfo=0"),
        *("-C", "codegen-units=1"),  # fewer threads, and half the address space
        *("-C", "strip=debuginfo"),  # of the standard library: saves a tenth of the time
        *("-o", "main", "main.rs"),
    ),
    run=("./main",),
    # rustc calls cc to link, which takes most of the 0.3 s of CPU.
    tools=(Tool("rustc", "apt-get install rustc"), Tool("cc", "apt-get install gcc")),
    verdict='println!("{{}}{{}}", "{0}", "{1}");',
    # rustc 1.63 needs 512 MB.
    limits=Limits(address_space_mb=1024),
    render=render,
)
