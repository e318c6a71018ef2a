"""Build, step 10: the README of a corpus, whose head tells `datasets.load_dataset` which tables there are."""

from pathlib import Path

from acepilot.corpus import SPLITS, CorpusManifest
from finetune.corpus.summary.report import template


def write_card(manifest: CorpusManifest, corpus: Path) -> None:
    """`load_dataset(corpus, "documents")` and, where there is one, `load_dataset(corpus, "packed")`."""
    there = {
        table: [split for split in SPLITS if any((corpus / table / split).glob("*.parquet"))]
        for table in ("documents", "packed")
    }
    tables = {table: splits for table, splits in there.items() if splits}
    text = template("card.md").render(manifest=manifest, tables=tables)
    (corpus / "README.md").write_text(text, encoding="utf-8")
