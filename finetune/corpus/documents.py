"""Build, step 8: the table of documents, and the share of replay that is mixed into it.

Replay (code of other languages, or texts sampled from the base model) is written apart first: how much of it
is wanted is known only when everything is counted.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.writers.parquet import ParquetWriter

from acepilot.corpus import Split
from finetune.corpus.reading.readers import Documents
from finetune.corpus.split import place, side_of
from finetune.corpus.tables import DOCUMENT, read_rows, write_rows

DOCUMENTS, REPLAY = "documents", "replay"
NEAR_DUPLICATES = "near-duplicates"


class FinishRows(PipelineStep):
    """The side of records that came without one, hashes, and the last counts.

    Replay from a repository that is on the other side here, or on both, is dropped: it would leak held-out
    code.
    """

    type = "mapper"
    name = "finish"

    def __init__(self, sides: Mapping[str, Split | None], heldout_share: float, seed: int) -> None:
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
    """Adds `replay.parquet` to a split's documents, up to `share` of all; all of it where that is not enough.

    `share` is of characters, in [0, 1). The language of which least was taken comes next, since what a model
    sees nothing of it forgets; its texts come in the order of their hashes, those that alone would be more
    than its equal part last.
    """
    own = sum(
        len(row["text"]) for path in sorted(documents.glob("*.parquet")) for row in read_rows(path, ["text"])
    )
    files = sorted(replay.glob("*.parquet"))
    texts = [
        _Text(row["language"], row["id"], len(row["text"]))
        for path in files
        for row in read_rows(path, ["id", "text", "language"])
    ]
    chosen = _in_turns(texts, share / (1 - share) * own, seed)
    wanted = (row for path in files for row in read_rows(path) if row["id"] in chosen)
    write_rows(documents / "replay.parquet", DOCUMENT, wanted)


class _Text(NamedTuple):
    language: str
    id: str
    characters: int


def _in_turns(texts: list[_Text], budget: float, seed: int) -> set[str]:
    """The ids of those that are taken until there are `budget` characters."""
    waiting: dict[str, list[_Text]] = defaultdict(list)
    for text in texts:
        waiting[text.language].append(text)
    equal_part = budget / max(1, len(waiting))
    for queue in waiting.values():  # the next one stands last
        queue.sort(key=lambda text: (text.characters > equal_part, place(text.id, seed)), reverse=True)
    taken = dict.fromkeys(sorted(waiting), 0)
    chosen: set[str] = set()
    while taken and budget > 0:
        language = min(taken, key=taken.__getitem__)
        text = waiting[language].pop()
        chosen.add(text.id)
        budget -= text.characters
        taken[language] += text.characters
        if not waiting[language]:
            del taken[language]
    return chosen
