"""Packed rows from a corpus folder to tensors, in an order that is a function of the step; for train.py.

`acepilot/corpus.py` says which columns a packed table has. Because the order needs nothing but seed and step,
a resumed run sees exactly the rows that an uninterrupted one would have seen.
"""

# torch and transformers are typed in part: what they give is known by the tests
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from datasets.exceptions import DatasetGenerationError
from pyarrow import parquet
from torch import Tensor

from acepilot.corpus import (
    INPUT_IDS,
    LABELS,
    NO_LOSS,
    POSITION_IDS,
    CorpusUnusable,
    Split,
    read_corpus_manifest,
)
from acepilot.models.manifest import MANIFEST_FILE
from acepilot.settings import home

TENSORS = (INPUT_IDS, POSITION_IDS, LABELS)
LANGUAGE = "language"


@dataclass(frozen=True)
class Batch:
    """int64 [B, T] each."""

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.input_ids.to(device), self.position_ids.to(device), self.labels.to(device))

    @property
    def loss_tokens(self) -> int:
        """Predictions that count: a label stands at its token, a row's first is not predicted."""
        return int((self.labels[:, 1:] != NO_LOSS).sum())


class Rows:
    """One split of a corpus, cut to `sequence_tokens`. Raises CorpusUnusable when it cannot be read."""

    def __init__(self, corpus: Path, split: Split, sequence_tokens: int) -> None:
        files = sorted((corpus / "packed" / split).glob("*.parquet"))
        if not files:
            raise CorpusUnusable(
                f"{corpus} has no packed/{split}/*.parquet: build it with `python -m finetune.corpus FOLDER "
                "--model MODEL`; something is held out where there are two repositories, or two files of one."
            )
        try:
            if not any(parquet.read_metadata(file).num_rows for file in files):
                raise CorpusUnusable(f"{corpus}/packed/{split} has no rows: its filters let nothing through.")
            self._data: Any = Dataset.from_parquet(
                [str(file) for file in files],
                cache_dir=str(home() / "cache" / "datasets"),  # a corpus folder may be read-only
            ).with_format("numpy")
        except (DatasetGenerationError, OSError, ValueError) as error:
            raise CorpusUnusable(
                f"{corpus}/packed/{split} cannot be read, build it again: {error}"
            ) from error
        missing = [column for column in (*TENSORS, LANGUAGE) if column not in self._data.column_names]
        if missing:
            raise CorpusUnusable(
                f"{corpus}/packed/{split} lacks the columns {', '.join(missing)}: build it again."
            )
        row_tokens = len(self._data[0][INPUT_IDS])
        if row_tokens < sequence_tokens:
            raise CorpusUnusable(
                f"{corpus}/packed/{split} has rows of {row_tokens} tokens and the recipe asks for "
                f"{sequence_tokens}: set sequence_tokens={row_tokens}, or pack the corpus anew."
            )
        self._tokens = sequence_tokens
        # A packed row that is longer than asked is several rows: cutting its end off would waste it
        self._pieces = row_tokens // sequence_tokens

    def __len__(self) -> int:
        return len(self._data) * self._pieces

    def batch(self, indices: list[int]) -> Batch:
        columns: dict[str, list[Any]] = defaultdict(list)
        for index in indices:
            row, piece = divmod(index, self._pieces)
            cut = slice(piece * self._tokens, (piece + 1) * self._tokens)
            stored = self._data[row]
            for column in TENSORS:
                columns[column].append(np.asarray(stored[column][cut], dtype=np.int64))
        input_ids, position_ids, labels = (torch.from_numpy(np.stack(columns[name])) for name in TENSORS)
        # the first token of a document is predicted from another document's last: never a loss
        return Batch(input_ids, position_ids, labels.masked_fill(position_ids == 0, NO_LOSS))

    def by_language(self, most: int) -> dict[str, list[int]]:
        """At most `most` row indices of each language, the first ones: the same at every evaluation."""
        chosen: dict[str, list[int]] = defaultdict(list)
        for row, language in enumerate(self._data[LANGUAGE]):
            for piece in range(self._pieces):
                if len(chosen[str(language)]) < most:
                    chosen[str(language)].append(row * self._pieces + piece)
        return dict(sorted(chosen.items()))


def indices_of(sample: int, count: int, rows: int, seed: int) -> list[int]:
    """Row indices of `count` samples from `sample` on; every epoch is a new permutation of all rows."""
    chosen: list[int] = []
    for number in range(sample, sample + count):
        epoch, place = divmod(number, rows)
        chosen.append(int(_permutation(seed, epoch, rows)[place]))
    return chosen


_permutations: dict[tuple[int, int, int], Any] = {}


def _permutation(seed: int, epoch: int, rows: int) -> Any:
    key = (seed, epoch, rows)
    if key not in _permutations:
        _permutations.clear()
        _permutations[key] = np.random.default_rng([seed, epoch]).permutation(rows)
    return _permutations[key]


def corpus_hash(corpus: Path) -> str | None:
    """The corpus' name in manifests; None for a folder of packed tables that has no manifest."""
    return read_corpus_manifest(corpus).hash if (corpus / MANIFEST_FILE).is_file() else None
