"""Whole builds of hand-written repositories, and everything that may be wrong with what goes in."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset  # pyright: ignore[reportUnknownVariableType]

from acepilot.corpus import SPLITS, CorpusUnusable, read_corpus_manifest
from acepilot.errors import ConfigError, NotEnoughDisk
from finetune.corpus.options import BuildOptions
from finetune.corpus.split import side_of, split_repositories
from finetune.corpus.tables import read_rows
from tests.finetune.handmade import (
    CLIENT,
    MIT,
    Files,
    Scraped,
    build_here,
    repository,
    write_byte_model,
    write_jsonl,
)

TABLE = "".join(f"def row_{n}(value):\n    return value * {n} + {n**3 % 977}\n\n\n" for n in range(5000))
SHOPS: dict[str, Files] = {name: repository(name) for name in ("alpha", "beta", "gamma")}


def rows(corpus: Path, split: str = "*", table: str = "documents") -> list[dict[str, Any]]:
    return [row for path in sorted((corpus / table).glob(f"{split}/*.parquet")) for row in read_rows(path)]


def test_two_builds_agree_whatever_the_number_of_workers(scraped: Scraped, tmp_path: Path) -> None:
    model = write_byte_model(tmp_path / "model", rows=300)
    options = BuildOptions((scraped(SHOPS),), heldout_share=0.3, model=model, sequence_tokens=256)
    one = build_here(options, tmp_path / "one", workers=1)
    two = build_here(options, tmp_path / "two", workers=2)
    assert one == two
    for name in one.files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "report.html").read_text() == (tmp_path / "two" / "report.html").read_text()

    changed = build_here(BuildOptions((tmp_path / "scraped",), heldout_share=0.3, seed=7), tmp_path / "three")
    assert changed.inputs_hash == one.inputs_hash
    assert len({one.hash, changed.hash}) == len({one.options_hash, changed.options_hash}) == 2


def test_a_corpus_says_what_it_holds_and_the_datasets_library_loads_it(
    scraped: Scraped, tmp_path: Path
) -> None:
    model = write_byte_model(tmp_path / "model", rows=300)
    out = tmp_path / "corpus"
    options = BuildOptions(
        (scraped(SHOPS),), heldout_share=0.3, model=model, sequence_tokens=256, fim_rate=0.5
    )
    manifest = build_here(options, out)
    assert read_corpus_manifest(out) == manifest

    documents: Any = load_dataset(str(out), "documents", cache_dir=str(tmp_path / "cache"))
    packed: Any = load_dataset(str(out), "packed", cache_dir=str(tmp_path / "cache"))
    sides = {split: set(documents[split]["repository"]) for split in ("train", "heldout")}
    assert all(sides.values())
    assert not sides["train"] & sides["heldout"]
    assert sum(len(documents[split]) for split in documents) == 9
    assert manifest.licences["MIT"].documents == 9
    assert manifest.blocks == {"script setup ts": 3, "style scss": 3, "template html": 3}

    component = next(row for row in documents["train"] if row["language"] == "vue")
    (script,) = [block for block in component["blocks"] if block["type"] == "script"]
    assert component["text"][script["start"] : script["end"]].strip().startswith("import { computed, ref }")
    assert component["path"] == "src/Counter.vue"

    assert manifest.packing is not None
    assert manifest.packing.sentinels is not None
    for split in ("train", "heldout"):
        assert {len(ids) for ids in packed[split]["input_ids"]} == {256}
        assert set(packed[split]["language"]) == {"vue", "typescript", "python"}
        assert manifest.packing.splits[split].sequences == len(packed[split])

    report = (out / "report.html").read_text()
    assert "9 documents from 3 sources" in report
    assert "http" not in report.replace("https://git", "").split("<svg")[0]  # nothing is fetched
    assert "<script" not in report


def test_near_duplicates_across_repositories_are_removed(scraped: Scraped, tmp_path: Path) -> None:
    copy = dict(SHOPS["alpha"]) | {"src/orders.ts": str(SHOPS["alpha"]["src/orders.ts"]) + "// a copy\n"}
    manifest = build_here(
        BuildOptions((scraped({"alpha": SHOPS["alpha"], "copy": copy}),)), tmp_path / "corpus"
    )
    last = manifest.filters[-1]
    assert last.name == "near-duplicates"
    assert last.seen == {"python": 2, "typescript": 2, "vue": 2}
    assert last.kept == {"python": 1, "typescript": 1, "vue": 1}


def test_every_dropped_file_is_counted_with_its_reason(scraped: Scraped, tmp_path: Path) -> None:
    odd: Files = dict(SHOPS["alpha"]) | {
        "node_modules/x/index.js": "module.exports = 1\n",
        "dist/app.js": "1\n",
        "src/app.min.js": "1\n",
        "src/logo.svg": "<svg/>\n",
        "src/latin.ts": "const name = 'größe'\n".encode("latin-1"),
        "src/tail.ts": b"const a = 1\xff\n",
        "src/program.ts": b"\x7fELF\0\0\0",
        "src/empty.ts": b"",
        "src/huge.ts": "const a = 1\n" * 200_000,
        "src/gpl/COPYING": "GNU General Public License",
        "src/gpl/list.ts": CLIENT,
        "src/messages.ts": "// Code generated by a tool. DO NOT EDIT.\n" + CLIENT,
        "src/bom.ts": b"\xef\xbb\xbfexport const mark = 'a byte order mark is no text'\r\n",
    }
    manifest = build_here(
        BuildOptions((scraped({"alpha": odd, "beta": SHOPS["beta"]}),)), tmp_path / "corpus"
    )
    filters = {one.name: one for one in manifest.filters}
    reasons = filters["read"].reasons
    assert reasons["vendored"] == reasons["build output"] == reasons["generated"] == reasons["empty"] == 1
    assert reasons["not UTF-8"] == 2
    assert reasons["binary"] == reasons["too large"] == 1
    assert filters["licence of its folder"].reasons == {"GPL-3.0": 1}
    assert filters["generated"].reasons == {"says that it is generated": 1}
    marked = next(row for row in rows(tmp_path / "corpus") if row["path"] == "src/bom.ts")
    assert marked["text"] == "export const mark = 'a byte order mark is no text'\n"


def test_what_overlaps_a_problem_is_dropped_and_named(scraped: Scraped, tmp_path: Path) -> None:
    leaked = str(SHOPS["alpha"]["lib/totals.py"])
    problem = {
        "task_id": "Shop/7",
        "prompt": leaked[: len(leaked) // 2],
        "canonical_solution": leaked[len(leaked) // 2 :],
    }
    problems = write_jsonl(tmp_path / "problems.jsonl", [problem])
    manifest = build_here(BuildOptions((scraped(SHOPS),), problems=(problems,)), tmp_path / "corpus")
    (found,) = manifest.contaminated
    assert found.problem == "Shop/7"
    assert found.document.endswith("lib/totals.py")
    assert "alpha" in found.document
    assert not any(row["text"] == leaked for row in rows(tmp_path / "corpus"))
    assert "Shop/7" in (tmp_path / "corpus" / "report.html").read_text()


def test_secrets_never_reach_the_corpus(scraped: Scraped, tmp_path: Path) -> None:
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"
    shop = dict(SHOPS["alpha"]) | {"src/api.ts": f"// ann.lee@acme.io\nexport const token = '{secret}'\n"}
    manifest = build_here(
        BuildOptions((scraped({"alpha": shop, "beta": SHOPS["beta"]}),)), tmp_path / "corpus"
    )
    assert manifest.redactions == {"email": 1, "secret": 1}
    found = next(row for row in rows(tmp_path / "corpus") if row["path"] == "src/api.ts")
    assert found["redactions"] == 2
    everything = b"".join(path.read_bytes() for path in (tmp_path / "corpus").rglob("*") if path.is_file())
    assert secret.encode() not in everything
    assert b"ann.lee" not in everything


def test_replay_is_mixed_in_up_to_its_share(scraped: Scraped, tmp_path: Path) -> None:
    sampled = write_jsonl(
        tmp_path / "sampled.jsonl",
        [
            {
                "text": f"def step_{n}(value):\n    return value * {n} + {n * n} - value ** {n}\n",
                "language": "python",
            }
            for n in range(200)
        ],
    )
    options = BuildOptions((scraped(SHOPS),), replay=(sampled,), replay_share=0.25)
    manifest = build_here(options, tmp_path / "corpus")
    kinds = manifest.kinds["train"]
    share = kinds["replay"].characters / (kinds["replay"].characters + kinds["code"].characters)
    assert 0.25 <= share < 0.3
    assert {row["language"] for row in rows(tmp_path / "corpus") if row["kind"] == "replay"} == {"python"}


def test_replay_takes_its_languages_in_turns(scraped: Scraped, tmp_path: Path) -> None:
    def steps(count: int, start: int) -> str:
        return "".join(f"def step_{n}(value):\n    return value * {n}\n" for n in range(start, start + count))

    long = {"text": steps(200, 5000), "language": "python"}
    python = [{"text": steps(3, 7 * n), "language": "python"} for n in range(300)]
    go = [
        {"text": f"func step{n}(v int) int {{\n\treturn v*{n} + {n * n}\n}}\n", "language": "go"}
        for n in range(9)
    ]
    sampled = write_jsonl(tmp_path / "sampled.jsonl", [long, *python, *go])
    build_here(BuildOptions((scraped(SHOPS),), replay=(sampled,), replay_share=0.5), tmp_path / "corpus")
    replay = [row for row in rows(tmp_path / "corpus") if row["kind"] == "replay"]
    assert sum(row["language"] == "go" for row in replay) > 5  # all but what is held out
    assert max(len(row["text"]) for row in replay) < 1000


def test_replay_of_another_corpus_never_crosses_the_split(scraped: Scraped, tmp_path: Path) -> None:
    folder = scraped(SHOPS)
    other = build_here(BuildOptions((folder,), heldout_share=0.3, seed=1), tmp_path / "other")
    seed = next(
        seed
        for seed in range(2, 50)
        if split_repositories([one.id for one in other.repositories], 0.3, seed)
        != {one.id: one.split for one in other.repositories}
    )
    options = BuildOptions(
        (folder,), heldout_share=0.3, seed=seed, replay=(tmp_path / "other",), replay_share=0.5
    )
    build_here(options, tmp_path / "corpus")
    sides = [
        {row["repository"] for row in rows(tmp_path / "corpus", split)} for split in ("train", "heldout")
    ]
    assert all(sides)
    assert not sides[0] & sides[1]


def test_only_the_languages_that_are_asked_for_stay_and_replay_is_not_asked(
    scraped: Scraped, tmp_path: Path
) -> None:
    replay = write_jsonl(tmp_path / "replay.jsonl", [{"text": "SELECT 1;\n" * 40, "language": "sql"}])
    folder = scraped(SHOPS)
    options = BuildOptions((folder,), languages=("vue",), replay=(replay,), replay_share=0.5)
    manifest = build_here(options, tmp_path / "vue")
    languages = {row["language"] for row in rows(tmp_path / "vue")}
    assert languages == {"vue", "sql"}
    wanted = next(one for one in manifest.filters if one.name == "language")
    assert wanted.kept == {"vue": 3}
    assert wanted.reasons["another language"] == sum(wanted.seen.values()) - 3
    assert tuple(manifest.options["languages"]) == ("vue",)
    # without it, a corpus has the name that it had before there was such an option
    assert "languages" not in BuildOptions((folder,)).described()


def test_instructions_keep_the_border_of_their_prompt(scraped: Scraped, tmp_path: Path) -> None:
    records = write_jsonl(
        tmp_path / "chat.jsonl",
        [
            {
                "prompt": "Mail ann.lee@acme.io a sum:\n",
                "completion": "const sum = (a, b) => a + b\n",
                "language": "javascript",
            }
        ],
    )
    build_here(BuildOptions((scraped(SHOPS),), instructions=(records,)), tmp_path / "corpus")
    (record,) = [row for row in rows(tmp_path / "corpus") if row["kind"] == "instruction"]
    assert record["text"][: record["prompt_chars"]] == "Mail user@example.com a sum:\n"
    assert record["text"][record["prompt_chars"] :] == "const sum = (a, b) => a + b\n"


def test_a_repository_stays_on_its_side_as_others_join() -> None:
    few = [f"github:a/{number}" for number in range(40)]
    before, after = (
        split_repositories(few, 0.2, 0),
        split_repositories([*few, *(f"npm:{n}" for n in range(40))], 0.2, 0),
    )
    assert all(after[name] == side for name, side in before.items())
    assert 2 <= list(before.values()).count("heldout") <= 16
    assert before["github:a/1"] == side_of("github:a/1", 0.2, 0)
    assert sorted(split_repositories(["a", "b"], 0.001, 0).values()) == ["heldout", "train"]
    assert split_repositories(["a"], 0.001, 0) == {"a": "train"}


def no_corpus(out: Path) -> bool:
    """Neither the corpus nor anything half-written beside it."""
    return not out.exists() and not list(out.parent.glob(f".{out.name}*"))


def test_of_a_repository_that_is_alone_files_are_held_out(scraped: Scraped, tmp_path: Path) -> None:
    files: Files = {"LICENSE": MIT}
    for name in SHOPS:
        files |= {f"packages/{name}/{path}": text for path, text in repository(name).items()}
    folder = scraped({"all": {**files, "LICENSE": MIT}})
    options = BuildOptions((folder,), heldout_share=0.3)
    manifest = build_here(options, tmp_path / "corpus")
    paths = {split: {row["path"] for row in rows(tmp_path / "corpus", split)} for split in SPLITS}
    assert len(paths["train"]) > len(paths["heldout"]) > 0
    assert not paths["train"] & paths["heldout"]
    assert [one.split for one in manifest.repositories] == [None]
    # as replay for another corpus of the same code it could bring held-out files to the other side
    again = replace(options, replay=(tmp_path / "corpus",), replay_share=0.5)
    assert build_here(again, tmp_path / "again").kinds["train"].keys() == {"code"}


def test_an_empty_repository_is_an_error_with_its_reasons(scraped: Scraped, tmp_path: Path) -> None:
    folder = scraped({"alpha": {"LICENSE": MIT, "dist/app.js": "1\n", "notes.txt": "words\n"}})
    with pytest.raises(CorpusUnusable, match=r"Nothing was left of 1 repositories.*build output \(1\)"):
        build_here(BuildOptions((folder,)), tmp_path / "corpus")
    assert no_corpus(tmp_path / "corpus")


def test_no_permissive_repository_is_an_error(scraped: Scraped, tmp_path: Path) -> None:
    folder = scraped({"alpha": SHOPS["alpha"]})
    with pytest.raises(
        CorpusUnusable, match=r"No repository is under an allowed licence \(found: MIT; allowed: ISC\)"
    ):
        build_here(BuildOptions((folder,), allowed=("ISC",)), tmp_path / "corpus")
    assert no_corpus(tmp_path / "corpus")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    options = BuildOptions(
        (tmp_path,),
        heldout_share=1.5,
        problems=(tmp_path / "no.jsonl",),
        model=tmp_path / "no",
        sequence_tokens=2,
    )
    with pytest.raises(ConfigError) as caught:
        build_here(options, tmp_path / "corpus")
    for words in (
        "has no sources.jsonl",
        "no.jsonl does not exist",
        "heldout-share",
        "is no folder",
        "too short",
    ):
        assert words in caught.value.message


@pytest.mark.parametrize("line", ["not json\n", '{"question": "?"}\n', "[1]\n"])
def test_damaged_records_are_named_by_file_and_line(scraped: Scraped, tmp_path: Path, line: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"prompt": "a", "completion": "b", "text": "c"}\n' + line)
    folder = scraped({"alpha": SHOPS["alpha"]})
    for options in (
        BuildOptions((folder,), replay=(path,)),
        BuildOptions((folder,), instructions=(path,)),
        BuildOptions((folder,), problems=(path,)),
    ):
        with pytest.raises(ConfigError, match=r"records\.jsonl, line 2"):
            build_here(options, tmp_path / "corpus")
        assert no_corpus(tmp_path / "corpus")


def test_a_corpus_is_never_overwritten(scraped: Scraped, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        build_here(BuildOptions((scraped({"alpha": SHOPS["alpha"]}),)), tmp_path / "corpus")


def test_what_a_killed_build_left_is_cleared(scraped: Scraped, tmp_path: Path) -> None:
    (tmp_path / ".corpus.building" / "corpus" / "documents").mkdir(parents=True)
    build_here(BuildOptions((scraped({"alpha": SHOPS["alpha"]}),)), tmp_path / "corpus")
    assert not (tmp_path / ".corpus.building").exists()
    assert read_corpus_manifest(tmp_path / "corpus").documents["train"]


def test_a_full_disk_leaves_nothing_half_written(
    scraped: Scraped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scraped({"alpha": SHOPS["alpha"]})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("finetune.corpus.build.write_report", full)
    with pytest.raises(NotEnoughDisk, match="free some space"):
        build_here(BuildOptions((folder,)), tmp_path / "corpus")
    assert no_corpus(tmp_path / "corpus")


@pytest.mark.slow
def test_a_disk_that_is_really_full_is_told_in_a_sentence(scraped: Scraped, tmp_path: Path) -> None:
    big = {name: dict(files) | {"src/big.py": TABLE} for name, files in SHOPS.items()}
    folder, disk = scraped(big), tmp_path / "disk"
    disk.mkdir()
    script = Path(__file__).parents[3] / "scripts" / "build_corpus.py"
    build_there = f"{sys.executable} {script} {folder} --out {disk}/corpus"
    command = f"mount -t tmpfs -o size=300k tmpfs {disk} && {build_there}; ls -A {disk}"
    unshared = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]
    if subprocess.run([*unshared, f"mount -t tmpfs tmpfs {disk}"], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk")
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    done = subprocess.run([*unshared, command], capture_output=True, text=True, env=environment)
    assert f"error: The disk of {disk} is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""  # nothing is left on it


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusUnusable, match="is not a corpus"):
        read_corpus_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"hash": "1"}))
    with pytest.raises(CorpusUnusable, match="is damaged"):
        read_corpus_manifest(tmp_path)


def test_nothing_here_imports_torch() -> None:
    program = "import sys, finetune.corpus.build, finetune.scrape.collect; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
