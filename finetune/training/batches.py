"""Read packed rows of a corpus as tensors, in an order that depends on seed and step alone; for train.py.

A resumed run therefore sees the same rows as an uninterrupted one. acepilot/corpus.py describes the columns
of a packed table.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from datasets.exceptions import DatasetGenerationError
from pyarrow import parquet
from torch import Tensor
from transformers import AutoTokenizer

from acepilot.corpus import (
    INPUT_IDS,
    LABELS,
    LANGUAGE,
    NO_LOSS,
    POSITION_IDS,
    CorpusUnusable,
    Split,
    read_corpus_manifest,
)
from acepilot.errors import ConfigError
from acepilot.models.manifest import MANIFEST_FILE
from acepilot.settings import home
from finetune.training.run_folder import TOKENIZER

TENSORS = (INPUT_IDS, POSITION_IDS, LABELS)
TOKENIZER_PROBE = "export const add = (a, b) => {\n    return a + b;\n}\n"


@dataclass(frozen=True)
class Batch:
    """Rows for one forward pass. Each tensor is int64 [B, T]."""

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.input_ids.to(device), self.position_ids.to(device), self.labels.to(device))

    @property
    def loss_tokens(self) -> int:
        """The number of predicted tokens. Labels are not shifted, so the first column is not predicted."""
        return int((self.labels[:, 1:] != NO_LOSS).sum())


class Rows:
    """One split of a corpus, cut into rows of `sequence_tokens`."""

    def __init__(self, corpus: Path, split: Split, sequence_tokens: int) -> None:
        """Raises CorpusUnusable when the split cannot be read."""
        files = sorted((corpus / "packed" / split).glob("*.parquet"))
        if not files:
            raise CorpusUnusable(
                f"{corpus} has no packed/{split}/*.parquet: build it with `python -m finetune.corpus FOLDER "
                "--model MODEL`. It needs two repositories, or two files of one, to hold something out."
            )
        try:
            if not any(parquet.read_metadata(file).num_rows for file in files):  # pyright: ignore[reportUnknownArgumentType]
                raise CorpusUnusable(
                    f"{corpus}/packed/{split} has no rows: the filters dropped every document."
                )
            self._data: Any = Dataset.from_parquet(
                [str(file) for file in files],
                cache_dir=str(home() / "cache" / "datasets"),  # a corpus folder may be read-only
            ).with_format("numpy")
        except (DatasetGenerationError, OSError, ValueError) as error:
            raise CorpusUnusable(
                f"{corpus}/packed/{split} cannot be read; build the corpus again: {error}"
            ) from error
        missing = [column for column in (*TENSORS, LANGUAGE) if column not in self._data.column_names]
        if missing:
            raise CorpusUnusable(
                f"{corpus}/packed/{split} lacks the columns {', '.join(missing)}: build the corpus again."
            )
        row_tokens = len(self._data[0][INPUT_IDS])
        if row_tokens < sequence_tokens:
            raise CorpusUnusable(
                f"{corpus}/packed/{split} has rows of {row_tokens} tokens and the recipe asks for "
                f"{sequence_tokens}: set sequence_tokens={row_tokens}, or build the corpus again with "
                "--sequence-tokens."
            )
        self._tokens = sequence_tokens
        # A stored row that is longer gives several rows, so that no token is lost but a short rest.
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
        # Never learn a document's first token: it would be predicted from another document.
        return Batch(input_ids, position_ids, labels.masked_fill(position_ids == 0, NO_LOSS))

    def by_language(self, limit: int) -> dict[str, list[int]]:
        """Return the first `limit` row indices of each language: the same rows at every evaluation."""
        chosen: dict[str, list[int]] = defaultdict(list)
        for row, language in enumerate(self._data[LANGUAGE]):
            for piece in range(self._pieces):
                if len(chosen[str(language)]) < limit:
                    chosen[str(language)].append(row * self._pieces + piece)
        return dict(sorted(chosen.items()))


def indices_of(sample: int, count: int, rows: int, seed: int) -> list[int]:
    """Return the rows of `count` samples from number `sample` on; each epoch permutes all rows anew."""
    chosen: list[int] = []
    for number in range(sample, sample + count):
        epoch, index = divmod(number, rows)
        chosen.append(int(_permutation(seed, epoch, rows)[index]))
    return chosen


@lru_cache(maxsize=2)  # a batch may span two epochs
def _permutation(seed: int, epoch: int, rows: int) -> Any:
    return np.random.default_rng([seed, epoch]).permutation(rows)


def check_tokenizer(corpus: Path, base: Path) -> None:
    """Raise ConfigError when the corpus was packed with another model's tokenizer than that of `base`."""
    if not (corpus / TOKENIZER).is_dir():
        return
    packed = cast(Any, AutoTokenizer.from_pretrained(corpus / TOKENIZER, trust_remote_code=False))
    own = cast(Any, AutoTokenizer.from_pretrained(base, trust_remote_code=False))
    if packed.encode(TOKENIZER_PROBE) != own.encode(TOKENIZER_PROBE):
        raise ConfigError(
            f"{corpus} was packed with another tokenizer than that of {base}: build it again with --model "
            f"{base}.",
            field="corpus",
        )


def corpus_hash(corpus: Path) -> str | None:
    """Return the hash in the corpus's manifest; None for a folder of packed tables without a manifest."""
    return read_corpus_manifest(corpus).hash if (corpus / MANIFEST_FILE).is_file() else None
