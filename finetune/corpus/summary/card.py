"""Build, step 10: write README.md, whose header lists the tables for `datasets.load_dataset`."""

from pathlib import Path

from acepilot.corpus import SPLITS, CorpusManifest
from finetune.corpus.summary.report import template


def write_card(manifest: CorpusManifest, corpus: Path) -> None:
    """Write the card for `load_dataset(corpus, "documents")` and, if packed, `load_dataset(corpus,
    "packed")`."""
    found = {
        table: [split for split in SPLITS if any((corpus / table / split).glob("*.parquet"))]
        for table in ("documents", "packed")
    }
    tables = {table: splits for table, splits in found.items() if splits}
    text = template("card.md").render(manifest=manifest, tables=tables)
    (corpus / "README.md").write_text(text, encoding="utf-8")
