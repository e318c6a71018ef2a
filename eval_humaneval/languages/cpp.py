"""Run C++ programs, and render the built-in problems in C++17.

Strings and collections are passed by const reference; collections are `std::vector` and `std::map`. A
completion cannot add an include, so the prompt has the usual ones: 0.6 s of CPU (<bits/stdc++.h>: 1.0 s).
"""

import json

from eval_humaneval.languages.base import LanguageAdapter, Tool
from eval_humaneval.languages.naming import arguments, octal_literal, prose, type_names
from eval_humaneval.problems.builtin import Case, Rendered, Spec, Type, Value
from eval_humaneval.problems.problem import VERDICT_MARK

HEADERS = (
    *("algorithm", "array", "bitset", "cctype", "climits", "cmath", "functional", "iomanip", "limits", "map"),
    *("numeric", "optional", "queue", "set", "sstream", "stack", "string", "unordered_map", "unordered_set"),
    *("utility", "vector"),
)

CHECK = """\
#include <cstdio>
#include <cstdlib>

template <typename T>
struct Same {
    static bool of(const T& got, const T& expected) { return got == expected; }
};

template <>
struct Same<double> {
    static bool of(double got, double expected) {
        return std::fabs(got - expected) <= 1e-9 * std::fmax(1.0, std::fabs(expected));
    }
};

template <typename T>
struct Same<std::optional<T>> {
    static bool of(const std::optional<T>& got, const std::optional<T>& expected) {
        return got.has_value() == expected.has_value() && (!got || Same<T>::of(*got, *expected));
    }
};

template <typename T>
struct Same<std::vector<T>> {
    static bool of(const std::vector<T>& got, const std::vector<T>& expected) {
        return std::equal(got.begin(), got.end(), expected.begin(), expected.end(), Same<T>::of);
    }
};

template <typename T>
struct Same<std::map<std::string, T>> {
    using Table = std::map<std::string, T>;
    static bool of(const Table& got, const Table& expected) {
        return std::equal(got.begin(), got.end(), expected.begin(), expected.end(), [](auto& a, auto& b) {
            return a.first == b.first && Same<T>::of(a.second, b.second);
        });
    }
};

template <typename T>
void check(int number, const T& got, const T& expected) {
    if (!Same<T>::of(got, expected)) {
        std::fprintf(stderr, "test case %d: not what is expected\\n", number);
        std::exit(1);
    }
}
"""


type_name = type_names(
    {"float": "double", "str": "std::string"},
    {"list": "std::vector<{}>", "dict": "std::map<std::string, {}>", "optional": "std::optional<{}>"},
)


def parameter(name: str, declared: Type) -> str:
    by_value = declared.name in ("int", "float", "bool")
    return f"{type_name(declared)} {name}" if by_value else f"const {type_name(declared)}& {name}"


def literal(value: Value, declared: Type) -> str:
    """Return `value` as an initializer of its declared type."""
    if value is None:
        return "std::nullopt"
    if declared.item is None:
        if declared.name == "str":
            return octal_literal(value)
        return repr(value) if declared.name == "float" else json.dumps(value)
    item = declared.item
    if declared.name == "optional":
        return literal(value, item)
    if declared.name == "list":
        return f"{{{', '.join(literal(element, item) for element in value)}}}"
    pairs = (f"{{{octal_literal(key)}, {literal(element, item)}}}" for key, element in value.items())
    return f"{{{', '.join(pairs)}}}"


def call(spec: Spec, case: Case) -> str:
    return f"{spec.name}({arguments(spec, case, literal)})"


def render(spec: Spec) -> Rendered:
    includes = "".join(f"#include <{header}>\n" for header in HEADERS)
    text = prose(spec.text, lambda name: f"`{name}`")
    examples = [f"{call(spec, case)} == {literal(case.returns, spec.returns)}" for case in spec.examples]
    doc = "".join(f"/// {line}".rstrip() + "\n" for line in [*text, "", *examples])
    parameters = ", ".join(parameter(param.name, param.type) for param in spec.params)
    returns = type_name(spec.returns)
    checks = "".join(
        f"    check<{returns}>({number}, {call(spec, case)}, {literal(case.returns, spec.returns)});\n"
        for number, case in enumerate(spec.tests, 1)
    )
    return Rendered(
        prompt=f"{includes}\n{doc}{returns} {spec.name}({parameters}) {{\n",
        stops=("\n}",),
        tail=f"\n}}\n\n{CHECK}\nint main() {{\n{checks}    {VERDICT_MARK}\n}}\n",
    )


CPP = LanguageAdapter(
    label="C++",
    source_name="main.cpp",
    compile=("g++", "-std=c++17", "-O0", "-w", "-fmax-errors=5", "-pipe", "-o", "main", "main.cpp"),
    run=("./main",),
    tools=(Tool("g++", "apt-get install g++"),),
    # A compiler built-in needs no header, which not every problem set includes.
    verdict='__builtin_puts("{0}" "{1}");',
    render=render,
)
