"""Run Go programs, and render the built-in problems in Go.

An optional result is a value and a bool (the comma-ok form); parameters are never optional. A completion
cannot add an import, so the prompt has the usual ones.
"""

from itertools import groupby

from eval_humaneval.languages.base import LanguageAdapter, Limits, Tool
from eval_humaneval.languages.naming import arguments, camel, octal_literal, prose, type_names
from eval_humaneval.problems.builtin import Case, Rendered, Spec, Type, Value
from eval_humaneval.problems.problem import VERDICT_MARK

IMPORTS = ("fmt", "math", "sort", "strconv", "strings", "unicode")

CHECK = """\
// An import that is not used would not compile.
var _, _, _, _, _ = math.Abs, sort.Ints, strconv.Itoa, strings.Fields, unicode.IsUpper

func check[T any](number int, same func(T, T) bool, got, expected T) {
	if !same(got, expected) {
		panic(fmt.Sprintf("test case %d: %#v instead of %#v", number, got, expected))
	}
}

func exact[T comparable](got, expected T) bool { return got == expected }

func near(got, expected float64) bool {
	return math.Abs(got-expected) <= 1e-9*math.Max(1, math.Abs(expected))
}

func listOf[T any](same func(T, T) bool) func([]T, []T) bool {
	return func(got, expected []T) bool {
		if len(got) != len(expected) {
			return false
		}
		for i, item := range expected {
			if !same(got[i], item) {
				return false
			}
		}
		return true
	}
}

func mapOf[T any](same func(T, T) bool) func(map[string]T, map[string]T) bool {
	return func(got, expected map[string]T) bool {
		if len(got) != len(expected) {
			return false
		}
		for key, item := range expected {
			if found, ok := got[key]; !ok || !same(found, item) {
				return false
			}
		}
		return true
	}
}

func oneOrNone[T any](value T, ok bool) []T {
	if !ok {
		return []T{}
	}
	return []T{value}
}
"""


type_name = type_names({"float": "float64", "str": "string"}, {"list": "[]{}", "dict": "map[string]{}"})


def result_type(declared: Type) -> str:
    """Return the type for a signature."""
    if declared.name == "optional" and declared.item is not None:
        return f"({type_name(declared.item)}, bool)"
    return type_name(declared)


def literal(value: Value, declared: Type) -> str:
    name = "" if declared.item is None else type_name(declared)
    return name + untyped(value, declared)


def untyped(value: Value, declared: Type) -> str:
    """Return `value` for a place where the type is known, as in a list of lists."""
    if declared.item is None:
        if declared.name == "str":
            return octal_literal(value)
        return str(value).lower() if declared.name == "bool" else repr(value)
    item = declared.item
    if declared.name == "list":
        return f"{{{', '.join(untyped(element, item) for element in value)}}}"
    pairs = (f"{octal_literal(key)}: {untyped(element, item)}" for key, element in value.items())
    return f"{{{', '.join(pairs)}}}"


def returned(value: Value, declared: Type) -> str:
    """Return `value` for the comment on a call."""
    if declared.name != "optional" or declared.item is None:
        return literal(value, declared)
    if value is not None:
        return f"{literal(value, declared.item)}, true"
    zero = {"int": "0", "float": "0", "str": '""', "bool": "false"}
    return f"{zero.get(declared.item.name, 'nil')}, false"


def call(spec: Spec, case: Case) -> str:
    return f"{camel(spec.name)}({arguments(spec, case, literal)})"


def same(declared: Type) -> str:
    """Return the function of CHECK that compares two values."""
    if declared.item is None:
        return "near" if declared.name == "float" else f"exact[{type_name(declared)}]"
    return f"{'mapOf' if declared.name == 'dict' else 'listOf'}({same(declared.item)})"


def check(number: int, spec: Spec, case: Case) -> str:
    compare, got = same(spec.returns), call(spec, case)
    if spec.returns.name != "optional" or spec.returns.item is None:
        return f"check({number}, {compare}, {got}, {literal(case.returns, spec.returns)})"
    found = [] if case.returns is None else [case.returns]
    return f"check({number}, {compare}, oneOrNone({got}), {literal(found, Type('list', spec.returns.item))})"


def signature(spec: Spec) -> str:
    groups = groupby(spec.params, key=lambda param: type_name(param.type))
    parameters = (f"{', '.join(camel(param.name) for param in group)} {name}" for name, group in groups)
    return f"func {camel(spec.name)}({', '.join(parameters)}) {result_type(spec.returns)}"


def doc_text(spec: Spec) -> str:
    """Return the prose, beginning with the function's name if possible, as Go's doc comments do."""
    text = spec.text
    for opening, instead in (("Return ", "returns "), ("Tell whether ", "reports whether ")):
        if text.startswith(opening):
            text = f"`{spec.name}` {instead}{text.removeprefix(opening)}"
    missing = " The second result is false when there is nothing." if spec.returns.name == "optional" else ""
    return text + missing


def render(spec: Spec) -> Rendered:
    imports = "".join(f'\t"{name}"\n' for name in IMPORTS)
    shown = [f"\t{call(spec, case)} // {returned(case.returns, spec.returns)}" for case in spec.examples]
    text = [f" {line}" for line in prose(doc_text(spec), camel)]
    doc = "".join(f"//{line}\n" for line in [*text, "", *shown])
    checks = "".join(f"\t{check(number, spec, case)}\n" for number, case in enumerate(spec.tests, 1))
    return Rendered(
        prompt=f"package main\n\nimport (\n{imports})\n\n{doc}{signature(spec)} {{\n",
        stops=("\n}",),
        tail=f"\n}}\n\n{CHECK}\nfunc main() {{\n{checks}\t{VERDICT_MARK}\n}}\n",
    )


GO = LanguageAdapter(
    label="Go",
    source_name="main.go",
    # Without debugging symbols: 0.16 s of CPU, not 0.24 s.
    compile=("go", "build", "-ldflags=-s -w", "-o", "main", "main.go"),
    run=("./main",),
    tools=(Tool("go", "apt-get install golang-go", "version"),),
    # Every program imports fmt.
    verdict='fmt.Println("{0}" + "{1}")',
    environment={
        "CGO_ENABLED": "0",
        "GO111MODULE": "off",
        "GOMAXPROCS": "2",  # the same number of threads on every machine
        # Since 1.20, Go ships without its compiled library and compiles the part that a program needs:
        # 9 s of CPU per program with 1.24. `CGO_ENABLED=0 GODEBUG=installgoroot=all go install std`, run
        # once as root for 46 s, reduces that to 0.1 s. Go finds the library only with this setting.
        "GODEBUG": "installgoroot=all",
    },
    # 768 MB nearly always suffice; the rest is for malloc's arenas, one per thread of Debian's go. Newer
    # versions of Go need the larger file limit: they write 34 MB of compiled packages.
    limits=Limits(address_space_mb=2048, processes=64, file_mb=128),
    render=render,
)
