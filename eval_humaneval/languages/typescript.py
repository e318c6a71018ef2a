"""Run TypeScript programs: JavaScript with types, which a compile step removes before Node runs it."""

from eval_humaneval.languages.base import LanguageAdapter
from eval_humaneval.languages.javascript import LIMITS, NODE, RUN, STOPS, doc_comment, tests, type_name
from eval_humaneval.languages.naming import camel
from eval_humaneval.problems.builtin import Rendered, Spec
from eval_humaneval.runtime import DIST


def render(spec: Spec) -> Rendered:
    parameters = ", ".join(f"{camel(param.name)}: {type_name(param.type)}" for param in spec.params)
    signature = f"function {camel(spec.name)}({parameters}): {type_name(spec.returns)} {{\n"
    stops = (*STOPS, "\ninterface ", "\ntype ")
    return Rendered(f"{doc_comment(spec, [])}{signature}", stops, tests(spec))


TYPESCRIPT = LanguageAdapter(
    label="TypeScript",
    source_name="main.ts",
    compile=("node", "typescript.cjs", "main.ts", "main.js"),
    run=RUN,
    tools=(NODE,),
    verdict="console.log('{0}' + '{1}');",
    limits=LIMITS,
    files={"typescript.cjs": DIST / "typescript.cjs"},
    render=render,
)
