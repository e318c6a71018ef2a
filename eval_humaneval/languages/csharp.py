"""Run C# programs (with mono), and render the built-in problems in C#.

Collections are `List<T>` and `Dictionary<string, T>`; an optional int is `int?`. The examples in the doc
comment are newer than mono's C# 7: they write lists as `[1, 2]` and dictionaries as `new() { ... }`, because
XML would need `&lt;` and `&gt;` for the brackets of the types.
"""

import json
from html import escape

from eval_humaneval.languages.base import LanguageAdapter, Tool
from eval_humaneval.languages.naming import arguments, camel, pascal, prose
from eval_humaneval.problems.builtin import Case, Rendered, Spec, Type, Value
from eval_humaneval.problems.problem import VERDICT_MARK

USINGS = """\
using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Text.RegularExpressions;
"""

CHECK = """\
    static void Check(int number, object got, object expected)
    {
        if (!Same(got, expected))
        {
            Console.Error.WriteLine("test case " + number + ": not what is expected");
            Environment.Exit(1);
        }
    }

    static bool Same(object got, object expected)
    {
        if (expected is double wanted && got is double found)
        {
            return Math.Abs(found - wanted) <= 1e-9 * Math.Max(1, Math.Abs(wanted));
        }
        if (expected is System.Collections.IList items && got is System.Collections.IList gotItems)
        {
            return gotItems.Count == items.Count
                && Enumerable.Range(0, items.Count).All(i => Same(gotItems[i], items[i]));
        }
        if (expected is System.Collections.IDictionary map && got is System.Collections.IDictionary gotMap)
        {
            return gotMap.Count == map.Count
                && map.Keys.Cast<string>().All(key => gotMap.Contains(key) && Same(gotMap[key], map[key]));
        }
        return Equals(expected, got);
    }
"""


def type_name(declared: Type) -> str:
    if declared.item is None:
        return {"float": "double", "str": "string"}.get(declared.name, declared.name)
    item = type_name(declared.item)
    if declared.name == "optional":
        return f"{item}?" if declared.item.name in ("int", "float", "bool") else item
    return {"list": f"List<{item}>", "dict": f"Dictionary<string, {item}>"}[declared.name]


def parameter_name(name: str) -> str:
    """Return the parameter's name in C#, where `base` is a keyword."""
    return "@base" if name == "base" else camel(name)


def literal(value: Value, declared: Type, short: bool = False) -> str:
    """Return `value` as an expression; `short` leaves out the types of collections."""
    if value is None:
        return "null"
    if declared.item is None:
        # C# has the escapes of JSON, and its true and false.
        return repr(value) if declared.name == "float" else json.dumps(value)
    if declared.name == "optional":
        return literal(value, declared.item, short)
    item = declared.item
    if declared.name == "list":
        items = ", ".join(literal(element, item, short) for element in value)
        return f"[{items}]" if short else _new(declared, items)
    pairs = (f"[{json.dumps(key)}] = {literal(element, item, short)}" for key, element in value.items())
    items = ", ".join(pairs)
    return f"new() {{ {items} }}" if short and items else "new()" if short else _new(declared, items)


def _new(declared: Type, items: str) -> str:
    return f"new {type_name(declared)} {{ {items} }}" if items else f"new {type_name(declared)}()"


def call(spec: Spec, case: Case, short: bool = False) -> str:
    written = arguments(spec, case, lambda value, declared: literal(value, declared, short))
    return f"{pascal(spec.name)}({written})"


def example(spec: Spec, case: Case) -> str:
    return escape(
        f"{call(spec, case, short=True)} // {literal(case.returns, spec.returns, short=True)}", quote=False
    )


def render(spec: Spec) -> Rendered:
    mark = '<paramref\N{NO-BREAK SPACE}name="{}"/>'
    text = prose(escape(spec.text, quote=False), lambda name: mark.format(camel(name)))
    examples = [example(spec, case) for case in spec.examples]
    lines = ["<summary>", *text, "</summary>", "<example>", "<code>", *examples, "</code>", "</example>"]
    doc = "".join(f"    /// {line}\n" for line in lines)
    parameters = ", ".join(f"{type_name(param.type)} {parameter_name(param.name)}" for param in spec.params)
    signature = f"    public static {type_name(spec.returns)} {pascal(spec.name)}({parameters})\n    {{\n"
    checks = "".join(
        f"        Check({number}, Solution.{call(spec, case)}, {literal(case.returns, spec.returns)});\n"
        for number, case in enumerate(spec.tests, 1)
    )
    main = f"    public static void Main()\n    {{\n{checks}        {VERDICT_MARK}\n    }}\n"
    return Rendered(
        prompt=f"{USINGS}\npublic static class Solution\n{{\n{doc}{signature}",
        stops=("\n    }",),
        tail=f"\n    }}\n}}\n\npublic static class Program\n{{\n{CHECK}\n{main}}}\n",
    )


CSHARP = LanguageAdapter(
    label="C#",
    source_name="main.cs",
    compile=("mcs", "-warn:0", "-r:System.Numerics.dll", "-out:main.exe", "main.cs"),
    run=("mono", "main.exe"),
    tools=(Tool("mcs", "apt-get install mono-mcs"), Tool("mono", "apt-get install mono-runtime")),
    verdict='System.Console.WriteLine("{0}" + "{1}");',
    render=render,
)
