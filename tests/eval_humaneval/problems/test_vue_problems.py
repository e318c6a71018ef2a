"""Tests of Vue under plain Node: the committed bundles, and the built-in problems."""

import shutil
import subprocess
from pathlib import Path

import pytest

from eval_humaneval.languages.javascript import NODE
from eval_humaneval.languages.vue import VUE
from eval_humaneval.problems.builtin import TEST_MARK, vue_problems
from eval_humaneval.problems.problem import VERDICT_MARK, Problem, program_of, truncate
from tests.needs import reason

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason=reason(NODE.name, NODE.install))

SAMPLE = (
    "async_list",
    "card_slots",
    "debounced_search",
    "greeting_defaults",
    "number_stepper",
    "stopwatch_options",
)


def judge(folder: Path, source: str) -> tuple[str, str]:
    """Return the outcome of a program, and its output."""
    toolchain = VUE
    for name, path in toolchain.files.items():
        (folder / name).symlink_to(path)
    verdict = toolchain.verdict.format("all ", "held")
    (folder / toolchain.source_name).write_text(source.replace(VERDICT_MARK, verdict), encoding="utf-8")
    output = ""
    for step, command in (("compile_error", toolchain.compile), ("failed", toolchain.run)):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
        output += done.stdout + done.stderr
        if done.returncode != 0:
            return step, output
    return ("passed" if "all held\n" in output else "silent"), output


def component(folder: Path, source: str, test: str) -> tuple[str, str]:
    return judge(folder, f"{source}\n{TEST_MARK}\n{test}\n{VERDICT_MARK}\n")


def test_every_problem_is_whole():
    found = vue_problems()
    assert len(found) >= 32
    assert len({problem.id for problem in found}) == len(found)
    for problem in found:
        assert problem.id == f"builtin/{problem.cluster}"
        assert problem.language == "vue"
        assert problem.prompt.endswith("\n"), problem.id
        assert problem.stops, problem.id
        for completion in (problem.canonical, problem.wrong):
            assert completion, problem.id
            assert truncate(completion, problem.stops) == completion, problem.id
        assert program_of(problem, "").source.count(VERDICT_MARK) == 1
        assert program_of(problem, "").source.count(f"\n{TEST_MARK}\n") == 1


def test_problems_are_of_every_kind():
    prompts = [problem.prompt for problem in vue_problems()]
    assert sum(prompt.endswith("<template>\n") for prompt in prompts) >= 8
    assert sum("</template>" in prompt for prompt in prompts) >= 8
    assert sum('lang="ts"' in prompt for prompt in prompts) >= 5
    assert sum("export default {" in prompt for prompt in prompts) >= 3


def by_name(name: str) -> Problem:
    return next(problem for problem in vue_problems() if problem.cluster == f"vue/{name}")


@needs_node
@pytest.mark.parametrize("name", SAMPLE)
def test_solutions_of_a_sample_of_problems(tmp_path: Path, name: str):
    check(tmp_path, by_name(name))


@needs_node
@pytest.mark.slow
@pytest.mark.parametrize("problem", vue_problems(), ids=lambda problem: problem.cluster)
def test_every_problem_tells_right_from_wrong_and_from_nothing(tmp_path: Path, problem: Problem):
    check(tmp_path, problem)
    (tmp_path / "empty").mkdir()
    assert judge(tmp_path / "empty", program_of(problem, "").source)[0] != "passed"


def check(folder: Path, problem: Problem) -> None:
    expected = {problem.canonical: "passed", problem.wrong: "failed"}
    for number, (completion, outcome) in enumerate(expected.items()):
        assert completion is not None
        (folder / str(number)).mkdir()
        got, output = judge(folder / str(number), program_of(problem, completion).source)
        assert got == outcome, output


@needs_node
@pytest.mark.parametrize(
    ("source", "failure"),
    [
        ("<template>\n  <div>\n</template>", "Element is missing end tag"),
        ("<script setup>\nconst a = ;\n</script>\n<template>{{ a }}</template>", "Unexpected token"),
        ("<template>{{ 1 + }}</template>\n<script setup>\n</script>", "Error parsing JavaScript expression"),
        (
            "<script setup>\ndefineProps(['a'])\n</script>\n<template><input v-model=\"a\" /></template>",
            "v-model cannot be used on a prop",
        ),
        ("<script>\nexport default { data() { return { a: 1 } }\n</script>", "Unexpected token"),
        ("<p>no component</p>", "At least one <template> or <script> is required"),
    ],
)
def test_what_vue_refuses_is_a_compile_error(tmp_path: Path, source: str, failure: str):
    outcome, output = component(tmp_path, source, "mount(Component)")
    assert outcome == "compile_error", output
    assert failure in output


@needs_node
def test_a_component_reaches_neither_the_test_nor_the_system(tmp_path: Path):
    source = """
<script>
import { ref } from 'vue'

const seen = [typeof process, typeof module, typeof globalThis.require]
let refused = ''
try { require('node:fs') } catch (error) { refused = error.message }

export default { setup: () => ({ seen, refused, count: ref(1) }) }
</script>
<template><p>{{ seen }}</p><i>{{ refused }}</i><b>{{ count }}</b></template>
"""
    test = """
const wrapper = mount(Component);
assert.deepEqual(JSON.parse(wrapper.get("p").text()), ["undefined", "undefined", "undefined"]);
assert.match(wrapper.get("i").text(), /only 'vue'/);
assert.equal(wrapper.get("b").text(), "1");
await assert.rejects(fetch("http://localhost/"), /no network/);
"""
    outcome, output = component(tmp_path, source, test)
    assert outcome == "passed", output


@needs_node
@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("setInterval(() => {}, 10)", "passed"),  # it need not end by itself
        ("inject('absent')", "passed"),  # a warning of Vue
        ("onMounted(() => { throw new Error('broken') })", "failed"),
        ("onMounted(async () => { throw new Error('broken') })", "failed"),
        ("throw new Error('broken')", "failed"),
    ],
)
def test_errors_fail_and_warnings_do_not(tmp_path: Path, script: str, outcome: str):
    imports = "import { inject, onMounted } from 'vue'"
    source = f"<script setup>\n{imports}\n{script}\n</script>\n<template><p /></template>"
    got, output = component(tmp_path, source, "mount(Component);\nawait flushPromises();")
    assert got == outcome, output
    assert ("broken" in output) == (outcome == "failed")
