"""Tests of the holes that are cut: exact, of every kind, and independent of other files."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from acepilot.errors import ConfigError
from eval_humaneval.holes.cut import HOLE_PREFIX_CHARS, HOLE_SUFFIX_CHARS, cut_holes
from eval_humaneval.holes.hole import Hole
from eval_humaneval.holes.score import extract_answer
from tests.eval_humaneval.holes.holes_code import COUNTER, QUEUE, STOCK, module, repository

ALL = 1_000
FILES = {"stock.py": STOCK, "src/Counter.vue": COUNTER, "queue.go": QUEUE}


def text_of(hole: Hole) -> str:
    return hole.before + hole.truth + hole.after


def truths(holes: list[Hole], kind: str = "", block: str = "") -> set[str]:
    return {hole.truth for hole in holes if kind in ("", hole.kind) and block in ("", hole.block)}


def test_a_hole_and_what_is_around_it_are_the_file(tmp_path: Path) -> None:
    repository(tmp_path / "shop", FILES | {"long.py": "".join(module(number) for number in range(20))})
    holes = cut_holes(tmp_path / "shop", per_language=ALL, seed=1)
    for hole in holes:
        path = hole.problem.cluster.removeprefix("shop:")
        assert text_of(hole) == (tmp_path / "shop" / path).read_text(encoding="utf-8")
        assert len(hole.problem.prompt) <= HOLE_PREFIX_CHARS
        assert len(hole.problem.suffix) <= HOLE_SUFFIX_CHARS
        assert hole.above.endswith("\n") or not hole.above
        assert hole.problem.suffix.endswith("\n") or not hole.below
        assert extract_answer(hole, hole.truth) == hole.truth
        assert extract_answer(hole, hole.truth + hole.after) == hole.truth
    assert len({hole.problem.id for hole in holes}) == len(holes)
    assert any(hole.above and hole.below for hole in holes)


def test_every_kind_in_every_language_and_block(tmp_path: Path) -> None:
    holes = cut_holes(repository(tmp_path / "shop", FILES), per_language=ALL, seed=1)
    found = {(hole.problem.language, hole.block, hole.kind) for hole in holes}
    blocks = [("python", ""), ("go", ""), ("vue", "script"), ("vue", "template"), ("vue", "style")]
    assert found == {(*block, kind) for block in blocks for kind in ("line", "block", "expression")}


def test_where_the_cursor_stands(tmp_path: Path) -> None:
    for hole in cut_holes(repository(tmp_path / "shop", FILES), per_language=ALL, seed=1):
        left = hole.problem.prompt.rpartition("\n")[2]
        if hole.kind == "expression":
            assert left.strip()
            assert "\n" not in hole.truth
        else:
            assert not left.strip()
            assert hole.problem.suffix[:1] in ("\n", "")
        assert hole.truth == hole.truth.strip()


def test_code_that_must_not_be_a_hole(tmp_path: Path) -> None:
    holes = cut_holes(repository(tmp_path / "shop", FILES), per_language=ALL, seed=1)
    for word in ("Copyright", "docstring", "comment", "import", "package", "first out"):
        assert not any(word in truth for truth in truths(holes)), word
    assert not truths(holes) & {"}", "</section>", "found = []", 'print("done")'}


def test_the_inner_code_of_a_component(tmp_path: Path) -> None:
    holes = cut_holes(repository(tmp_path / "shop", {"Counter.vue": COUNTER}), per_language=ALL, seed=1)
    assert "doubled + props.step" in truths(holes, "expression", "template")
    for hole in holes:
        inner = hole.before[hole.inner_start :] + hole.truth + hole.after[: hole.inner_end]
        if hole.block == "script":
            assert inner == COUNTER.partition('<script setup lang="ts">')[2].partition("</script>")[0]
        if hole.block == "template" and hole.kind == "expression":
            assert inner == hole.truth
        assert (
            hole.inner
            == {
                "script": "typescript",
                "template": "typescript" if hole.kind == "expression" else "vue",
                "style": "css",
            }[hole.block]
        )


def test_holes_follow_from_the_seed(tmp_path: Path) -> None:
    source = repository(tmp_path / "shop", FILES)
    assert cut_holes(source, per_language=9, seed=1) == cut_holes(source, per_language=9, seed=1)
    assert cut_holes(source, per_language=9, seed=1) != cut_holes(source, per_language=9, seed=2)


def test_another_file_uses_budget_and_moves_no_hole(tmp_path: Path) -> None:
    files = {f"part_{number}.py": module(number) for number in range(6)}
    few, all_ = (
        set(cut_holes(repository(tmp_path / "shop", files), per_language=n, seed=1)) for n in (30, ALL)
    )
    repository(tmp_path / "shop", {"another.py": module(99)})
    few_after, all_after = (set(cut_holes(tmp_path / "shop", per_language=n, seed=1)) for n in (30, ALL))
    new = {hole for hole in few_after if hole.problem.cluster == "shop:another.py"}
    assert new
    assert few_after - new < few
    assert {hole for hole in all_after if hole.problem.cluster != "shop:another.py"} == all_


def test_a_budget_is_spread_over_files_and_kinds(tmp_path: Path) -> None:
    files = {f"part_{number}.py": module(number) for number in range(12)}
    holes = cut_holes(repository(tmp_path / "shop", files), per_language=36, seed=1)
    assert Counter(hole.kind for hole in holes) == {"line": 12, "block": 12, "expression": 12}
    assert set(Counter(hole.problem.cluster for hole in holes).values()) == {3}


def test_files_that_are_not_the_users_own_writing(tmp_path: Path) -> None:
    files = {
        "node_modules/a/index.js": "export const go = first(second, third)\n",
        ".venv/lib/a.py": module(1),
        "dist/bundle.js": "const go = first(second, third)\n",
        "app.min.js": "const go = first(second, third)\n",
        "api_pb2.py": module(2),
        "api.py": "# Code generated by a tool. DO NOT EDIT.\n" + module(3),
        "one_line.js": "const go = first(second, third); " * 100,
        "data.json": '{"first": {"second": 1}}\n',
        "README.md": "# First\n\nsecond third\n",
        "latin.py": "",
        "dist/Kept.vue": COUNTER,
        "kept.py": module(4),
        "twin.py": module(4),
    }
    source = repository(tmp_path / "shop", files)
    (source / "latin.py").write_bytes("name = call('é', other)\n".encode("latin-1"))
    holes = cut_holes(source, per_language=ALL, seed=1)
    assert {hole.problem.language for hole in holes} == {"python", "vue"}
    assert len({hole.problem.cluster for hole in holes}) == 2  # equal files count once


def test_windows_line_ends_become_newlines(tmp_path: Path) -> None:
    (source := tmp_path / "shop").mkdir()
    (source / "a.py").write_bytes(b"\xef\xbb\xbf" + STOCK.replace("\n", "\r\n").encode())
    assert {text_of(hole) for hole in cut_holes(source, per_language=ALL, seed=1)} == {STOCK}


def corpus(folder: Path, rows: list[dict[str, str]]) -> Path:
    (folder / "documents" / "heldout").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    tables: Any = pyarrow.Table
    parquet.write_table(tables.from_pylist(rows), folder / "documents" / "heldout" / "0.parquet")
    return folder


def document(repository: str, path: str, text: str, kind: str = "code") -> dict[str, str]:
    language = "python" if path.endswith(".py") else "vue"
    return {"repository": repository, "path": path, "text": text, "kind": kind, "language": language}


def test_a_corpus_gives_its_heldout_code_evenly_by_repository(tmp_path: Path) -> None:
    large = [document("npm:large", f"{number}.py", module(number)) for number in range(30)]
    small = [document("npm:small", f"{number}.py", module(50 + number)) for number in range(3)]
    replay = document("replay:old", "old.py", module(99), kind="replay")
    source = corpus(tmp_path / "corpus", [*large, *small, replay])
    holes = cut_holes(source, per_language=12, seed=1)
    by_repository = Counter(hole.problem.cluster.rpartition(":")[0] for hole in holes)
    assert by_repository == {"npm:large": 6, "npm:small": 6}


def test_a_source_without_holes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no folder"):
        cut_holes(tmp_path / "nowhere", per_language=9, seed=1)
    with pytest.raises(ConfigError, match="No hole can be cut"):
        cut_holes(repository(tmp_path / "empty", {"README.md": "# Empty\n"}), per_language=9, seed=1)
    only_replay = corpus(tmp_path / "corpus", [document("replay:old", "a.py", module(1), kind="replay")])
    with pytest.raises(ConfigError, match="--heldout-share"):
        cut_holes(only_replay, per_language=9, seed=1)
