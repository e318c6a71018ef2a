"""Replay, instructions and the filter by language: what is mixed into a corpus, and how much."""

from pathlib import Path

from finetune.corpus.options import BuildOptions
from finetune.corpus.split import split_names
from tests.finetune.handmade import (
    SHOPS,
    Scraped,
    build_here,
    rows,
    write_jsonl,
)


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


def test_replay_has_equal_parts_of_its_languages(scraped: Scraped, tmp_path: Path) -> None:
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
    assert sum(row["language"] == "go" for row in replay) > 5  # all but those held out
    assert max(len(row["text"]) for row in replay) < 1000


def test_replay_of_another_corpus_never_crosses_the_split(scraped: Scraped, tmp_path: Path) -> None:
    folder = scraped(SHOPS)
    other = build_here(BuildOptions((folder,), heldout_share=0.3, seed=1), tmp_path / "other")
    seed = next(
        seed
        for seed in range(2, 50)
        if split_names([one.id for one in other.repositories], 0.3, seed)
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


def test_language_filters_scraped_code_but_not_replay(scraped: Scraped, tmp_path: Path) -> None:
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
    # The hash of a corpus without this option must not change.
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
