"""Build, step 10: the README of a corpus, whose head tells `datasets.load_dataset` which tables there are."""

from pathlib import Path

from acepilot.corpus import SPLITS, CorpusManifest


def write_card(manifest: CorpusManifest, corpus: Path) -> None:
    """`load_dataset(corpus, "documents")` and, where there is one, `load_dataset(corpus, "packed")`."""
    lines = ["---", "configs:"]
    for table in ("documents", "packed"):
        splits = [split for split in SPLITS if any((corpus / table / split).glob("*.parquet"))]
        if splits:
            lines += [f"- config_name: {table}", "  data_files:"]
            for split in splits:
                lines += [f"  - split: {split}", f"    path: {table}/{split}/*.parquet"]
    sources = [
        f"- {entry.source} ({entry.licence}, {entry.split or 'split by file'})"
        for entry in manifest.repositories
    ]
    lines += ["---", "", "# A corpus made by Acepilot", "", f"Hash: `{manifest.hash}`", ""]
    lines += [
        "What was kept and why: `report.html`; the same for machines: `manifest.json`.",
        "",
        *sources,
        "",
    ]
    (corpus / "README.md").write_text("\n".join(lines), encoding="utf-8")
