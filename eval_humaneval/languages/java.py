"""Run Java programs, and render the built-in problems in Java.

A program is one file, Main.java, which starts in its class Main; its other classes are not public.
Collections are `List` and `Map`; arguments can be changed in place.
"""

from html import escape

from eval_humaneval.languages.base import LanguageAdapter, Limits, Tool
from eval_humaneval.languages.naming import arguments, camel, octal_literal, prose, type_names
from eval_humaneval.problems.builtin import Case, Rendered, Spec, Type, Value
from eval_humaneval.problems.problem import VERDICT_MARK

IMPORTS = "import java.util.*;\nimport java.util.function.*;\nimport java.util.stream.*;\n"

CHECK = """\
    static void check(Object got, Object expected) {
        if (!same(got, expected)) {
            throw new AssertionError(got + " instead of " + expected);
        }
    }

    static boolean same(Object got, Object expected) {
        if (expected instanceof Double wanted && got instanceof Double found) {
            return Math.abs(found - wanted) <= 1e-9 * Math.max(1, Math.abs(wanted));
        }
        if (expected instanceof Optional<?> wanted && got instanceof Optional<?> found) {
            return same(found.orElse(null), wanted.orElse(null));
        }
        if (expected instanceof List<?> wanted && got instanceof List<?> found) {
            boolean equal = found.size() == wanted.size();
            for (int i = 0; equal && i < wanted.size(); i++) {
                equal = same(found.get(i), wanted.get(i));
            }
            return equal;
        }
        if (expected instanceof Map<?, ?> wanted && got instanceof Map<?, ?> found) {
            boolean equal = found.keySet().equals(wanted.keySet());
            for (Object key : wanted.keySet()) {
                equal = equal && same(found.get(key), wanted.get(key));
            }
            return equal;
        }
        return Objects.equals(expected, got);
    }

    @SafeVarargs
    static <T> List<T> list(T... items) {
        return new ArrayList<>(Arrays.asList(items));
    }

    // Map.of has another order in every run.
    @SuppressWarnings("unchecked")
    static <T> Map<String, T> map(Object... pairs) {
        Map<String, T> result = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            result.put((String) pairs[i], (T) pairs[i + 1]);
        }
        return result;
    }
"""


def type_name(declared: Type) -> str:
    return {"int": "int", "float": "double", "bool": "boolean"}.get(declared.name) or boxed(declared)


boxed = type_names(
    {"int": "Integer", "float": "Double", "bool": "Boolean", "str": "String"},
    {"list": "List<{}>", "dict": "Map<String, {}>", "optional": "Optional<{}>"},
)
"""Returns the type's name for places that need a class."""


def literal(value: Value, declared: Type, list_of: str = "list", map_of: str = "map") -> str:
    """Return `value` as an expression; the defaults are the functions of CHECK."""
    if declared.item is None:
        if declared.name == "str":
            return octal_literal(value)
        return str(value).lower() if declared.name == "bool" else repr(value)
    item = declared.item
    if declared.name == "optional":
        return (
            "Optional.empty()" if value is None else f"Optional.of({literal(value, item, list_of, map_of)})"
        )
    if declared.name == "list":
        return f"{list_of}({', '.join(literal(element, item, list_of, map_of) for element in value)})"
    pairs = (
        f"{octal_literal(key)}, {literal(element, item, list_of, map_of)}" for key, element in value.items()
    )
    return f"{map_of}({', '.join(pairs)})"


def call(spec: Spec, case: Case, *collections: str) -> str:
    written = arguments(spec, case, lambda value, declared: literal(value, declared, *collections))
    return f"{camel(spec.name)}({written})"


def example(spec: Spec, case: Case) -> str:
    shown = ("List.of", "Map.of")
    return f"{call(spec, case, *shown)} // {literal(case.returns, spec.returns, *shown)}"


def render(spec: Spec) -> Rendered:
    text = prose(escape(spec.text, quote=False), lambda name: f"{{@code\N{NO-BREAK SPACE}{camel(name)}}}")
    lines = [*text, "", "<pre>{@code", *(example(spec, case) for case in spec.examples), "}</pre>"]
    doc = "".join(f"     * {line}".rstrip() + "\n" for line in lines)
    parameters = ", ".join(f"{type_name(param.type)} {camel(param.name)}" for param in spec.params)
    signature = f"    public static {type_name(spec.returns)} {camel(spec.name)}({parameters}) {{\n"
    checks = "".join(
        f"        check(Solution.{call(spec, case)}, {literal(case.returns, spec.returns)});\n"
        for case in spec.tests
    )
    main = f"    public static void main(String[] args) {{\n{checks}        {VERDICT_MARK}\n    }}\n"
    return Rendered(
        prompt=f"{IMPORTS}\nclass Solution {{\n    /**\n{doc}     */\n{signature}",
        stops=("\n    }",),
        tail=f"\n    }}\n}}\n\nclass Main {{\n{CHECK}\n{main}}}\n",
    )


VM = (
    "-XX:+UseSerialGC",
    "-Xmx256m",
    "-XX:TieredStopAtLevel=1",  # the second compiler does not pay for such short programs
    "-XX:ActiveProcessorCount=2",  # the same number of threads on every machine
    "-XX:CompressedClassSpaceSize=64m",  # the default gigabyte counts as address space
    "-XX:-UsePerfData",
)

JAVA = LanguageAdapter(
    label="Java",
    source_name="Main.java",
    # Both steps take 0.57 s of CPU. `java Main.java` takes 0.50 s, but hides compile errors.
    compile=(
        "javac",
        *(f"-J{flag}" for flag in VM),
        *("-proc:none", "-nowarn", "-encoding", "UTF-8", "Main.java"),
    ),
    run=("java", *VM, "-ea", "-cp", ".", "Main"),
    tools=(
        Tool("javac", "apt-get install default-jdk-headless", "-version"),
        Tool("java", "apt-get install default-jdk-headless", "-version"),
    ),
    verdict='System.out.println("{0}" + "{1}");',
    # 700 MB suffice; the rest is for malloc's arenas, one per thread.
    limits=Limits(address_space_mb=2048, processes=64),
    render=render,
)
