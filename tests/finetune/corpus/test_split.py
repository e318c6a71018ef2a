"""The split into train and heldout."""

from dataclasses import replace
from pathlib import Path

from acepilot.corpus import SPLITS
from finetune.corpus.options import BuildOptions
from finetune.corpus.split import split_names, split_of
from tests.finetune.handmade import (
    MIT,
    SHOPS,
    Files,
    Scraped,
    build_here,
    repository,
    rows,
)


def test_a_repository_keeps_its_split_as_others_join() -> None:
    few = [f"github:a/{number}" for number in range(40)]
    before, after = (
        split_names(few, 0.2, 0),
        split_names([*few, *(f"npm:{n}" for n in range(40))], 0.2, 0),
    )
    assert all(after[name] == side for name, side in before.items())
    assert 2 <= list(before.values()).count("heldout") <= 16
    assert before["github:a/1"] == split_of("github:a/1", 0.2, 0)
    assert sorted(split_names(["a", "b"], 0.001, 0).values()) == ["heldout", "train"]
    assert split_names(["a"], 0.001, 0) == {"a": "train"}


def test_files_of_an_only_repository_are_held_out(scraped: Scraped, tmp_path: Path) -> None:
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
    # As replay for another corpus of the same code it could bring held-out files into training.
    again = replace(options, replay=(tmp_path / "corpus",), replay_share=0.5)
    assert build_here(again, tmp_path / "again").kinds["train"].keys() == {"code"}
