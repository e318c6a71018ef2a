"""Tests of the committed TypeScript bundle under plain Node: programs that compile, and compile errors."""

import shutil
import subprocess
from pathlib import Path

import pytest

from eval_humaneval.languages.javascript import NODE
from eval_humaneval.runtime import DIST
from tests.needs import reason

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason=reason(NODE.name, NODE.install))

PROGRAM = """
import assert from "node:assert";
import type { Missing } from "./missing";

declare var require: any;
const util = require("node:util");

enum Level { Low, High = 5, Top }
interface Shape { area(): number }
abstract class Box<T extends object = {}> implements Shape {
  constructor(private readonly side: number, protected extra?: T) {}
  area(): number { return this.side ** 2 }
  abstract name(): string;
}
class Red extends Box { override name() { return "red" as const } }
function first(items: string[]): string;
function first(items: number[]): number;
function first<T>(items: T[]): T { return items[0]! }
const same = <T,>(value: T): T => value;
const sizes = { a: 1 } satisfies Record<string, number>;
const isText = (value: unknown): value is string => typeof value === "string";

assert.strictEqual(Level[6], "Top");
assert.strictEqual(new Red(3).area() + first([1, 2]), 10);
assert.ok(isText(new Red(1).name()) && !isText(same<number>(sizes.a)));
assert.strictEqual(util.inspect(new Map<string, Missing[]>()), "Map(0) {}");
console.log("held");
"""


def node(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["node", *arguments], cwd=folder, capture_output=True, text=True, timeout=60)


def compile_program(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(DIST / "typescript.cjs", folder)
    (folder / "main.ts").write_text(source, encoding="utf-8")
    return node(folder, "typescript.cjs", "main.ts", "main.js")


def test_types_of_every_kind_go_and_the_program_runs(tmp_path: Path):
    compiled = compile_program(tmp_path, PROGRAM)
    assert compiled.returncode == 0, compiled.stderr
    ran = node(tmp_path, "main.js")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "held\n"


@pytest.mark.parametrize(
    ("source", "failure"),
    [
        ("function f(: number) {}\n", "Unexpected token (1:12)"),
        ("const a: number = 1;\nconst a = 2;\n", "'a' has already been declared"),
        ("function f(a: number) {\n  return a;\n", "main.ts"),
    ],
)
def test_a_syntax_error_fails_the_compile_step_and_leaves_no_program(
    tmp_path: Path, source: str, failure: str
):
    compiled = compile_program(tmp_path, source)
    assert compiled.returncode == 1
    assert "SyntaxError" in compiled.stderr
    assert failure in compiled.stderr
    assert not (tmp_path / "main.js").exists()


def test_a_failing_assertion_names_its_line(tmp_path: Path):
    source = 'import assert from "assert";\n\ntype N = number;\nassert.strictEqual(1 as N, 2);\n'
    assert compile_program(tmp_path, source).returncode == 0
    ran = node(tmp_path, "main.js")
    assert ran.returncode != 0
    assert "main.js:4" in ran.stderr
