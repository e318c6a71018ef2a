"""Build, step 8: the table of documents, and the share of replay that is mixed into it.

Replay (code of other languages, or texts sampled from the base model) is written apart first: how much of it
is wanted is known only when everything is counted.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.writers.parquet import ParquetWriter

from acepilot.corpus import Split
from finetune.data.read import Documents
from finetune.data.split import place, side_of
from finetune.data.tables import DOCUMENT, read_rows, write_rows

DOCUMENTS, REPLAY = "documents", "replay"
NEAR_DUPLICATES = "near-duplicates"


class FinishRows(PipelineStep):
    """The side of records that came without one, hashes, and the last counts.

    Replay from a repository that is on the other side here is dropped: it would leak held-out code.
    """

    type = "mapper"
    name = "finish"

    def __init__(self, sides: dict[str, Split], heldout_share: float, seed: int) -> None:
        super().__init__()
        self.sides = sides
        self.heldout_share = heldout_share
        self.seed = seed

    def run(self, data: Documents = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for document in data or ():
            row = document.metadata
            row["sha256"] = hashlib.sha256(document.text.encode("utf-8", "replace")).hexdigest()
            row["split"] = row["split"] or side_of(row["sha256"], self.heldout_share, self.seed)
            self.stat_update(f"{NEAR_DUPLICATES}|{row['language']}|kept")
            if row["kind"] == "replay" and self.sides.get(row["repository"], row["split"]) != row["split"]:
                continue
            row["table"] = REPLAY if row["kind"] == "replay" else DOCUMENTS
            for block in row["blocks"]:
                words = (block["type"], "setup" if block["setup"] else "", block["lang"])
                self.stat_update(f"block|{' '.join(filter(None, words))}")
            yield document


def documents_writer(out: Path) -> ParquetWriter:
    """`out/<table>/<split>/<task>.parquet`."""
    return ParquetWriter(
        str(out),
        output_filename="${table}/${split}/${rank}.parquet",
        expand_metadata=True,
        max_file_size=-1,
        schema=DOCUMENT,
    )


def mix_replay(replay: Path, documents: Path, share: float, seed: int) -> None:
    """Adds `replay.parquet` to a split's documents: texts in the order of their hashes, up to `share` of all.

    `share` is of characters, in [0, 1). All of the replay is taken where it is not enough.
    """
    own = sum(
        len(row["text"]) for path in sorted(documents.glob("*.parquet")) for row in read_rows(path, ["text"])
    )
    budget = share / (1 - share) * own
    files = sorted(replay.glob("*.parquet"))
    ranked = sorted(
        (place(row["id"], seed), row["id"], len(row["text"]))
        for path in files
        for row in read_rows(path, ["id", "text"])
    )
    chosen: set[str] = set()
    for _, document_id, characters in ranked:
        if budget <= 0:
            break
        budget -= characters
        chosen.add(document_id)
    wanted = (row for path in files for row in read_rows(path) if row["id"] in chosen)
    write_rows(documents / "replay.parquet", DOCUMENT, wanted)
