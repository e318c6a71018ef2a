"""Build, step 7: complete the rows of the documents, and write them to tables by split."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.writers.parquet import ParquetWriter

from acepilot.corpus import Split
from finetune.corpus.cleaning.vue_blocks import blocks_of
from finetune.corpus.reading.readers import Documents
from finetune.corpus.split import split_of
from finetune.corpus.tables import DOCUMENT

DOCUMENTS, REPLAY = "documents", "replay"
NEAR_DUPLICATES = "near-duplicates"


class FinishRows(PipelineStep):
    """Add hashes, the split of records that have none, the blocks of Vue components, and the last counts.

    Replay from a repository that belongs to the other split here, or to both, is dropped: it would leak
    held-out code into training.
    """

    type = "mapper"
    name = "finish"

    def __init__(self, splits: Mapping[str, Split | None], heldout_share: float, seed: int) -> None:
        super().__init__()
        self.splits = splits
        self.heldout_share = heldout_share
        self.seed = seed

    def run(self, data: Documents = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for document in data or ():
            row = document.metadata
            row["sha256"] = hashlib.sha256(document.text.encode("utf-8", "replace")).hexdigest()
            row["split"] = row["split"] or split_of(row["sha256"], self.heldout_share, self.seed)
            self.stat_update(f"{NEAR_DUPLICATES}|{row['language']}|kept")
            if row["kind"] == "replay" and self.splits.get(row["repository"], row["split"]) != row["split"]:
                continue
            row["table"] = REPLAY if row["kind"] == "replay" else DOCUMENTS
            blocks = blocks_of(document.text) if row["language"] == "vue" else []
            row["blocks"] = [asdict(block) for block in blocks]
            for block in blocks:
                words = (block.type, "setup" if block.setup else "", block.lang)
                self.stat_update(f"block|{' '.join(filter(None, words))}")
            yield document


def documents_writer(out: Path) -> ParquetWriter:
    """Return the step that writes `out/<table>/<split>/<task>.parquet`."""
    return ParquetWriter(
        str(out),
        output_filename="${table}/${split}/${rank}.parquet",
        expand_metadata=True,
        max_file_size=-1,
        schema=DOCUMENT,
    )
