"""The corpus as files: its tables' columns and its manifest. `finetune.data` writes it, training reads it.

CORPUS/
├── manifest.json                where it came from, what every filter took out, hashes of everything
├── report.html                  the same for people
├── README.md                    tells the `datasets` library which tables there are
├── documents/{train,heldout}/   one row a file: text and where it is from
├── packed/{train,heldout}/      one row a training sequence, if a tokenizer was given
└── tokenizer/                   the tokenizer of `packed`, sentinels added where it had none
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acepilot.errors import AcepilotError
from acepilot.models.manifest import MANIFEST_FILE

Split = Literal["train", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "heldout")
Kind = Literal["code", "replay", "instruction"]

INPUT_IDS = "input_ids"
POSITION_IDS = "position_ids"
"""Starts again at 0 for each document of a sequence: that alone keeps documents apart in attention."""
LABELS = "labels"
"""Equal to `input_ids`, not shifted, and `NO_LOSS` where nothing is to be learnt."""
NO_LOSS = -100
"""At padding, at the first token of each document (nothing is before it), and in an instruction's prompt."""
LANGUAGE = "language"
"""A packed row holds documents of one language."""


class CorpusUnusable(AcepilotError):
    """No corpus can be built from what was given, or the folder is not a whole corpus."""

    code = "corpus_unusable"
    status = 422


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CorpusFile(_Part):
    sha256: str
    size_bytes: int


class RepositoryEntry(_Part):
    """One source. `content_sha256` covers each file's path and bytes, those that were filtered out too.
    `split` is None where it is the only one: its files are split."""

    id: str
    source: str
    revision: str
    licence: str
    split: Split | None
    content_sha256: str


class FilterCount(_Part):
    """What one filter saw and let through, in documents, by language; `reasons` counts what it dropped."""

    name: str
    seen: dict[str, int]
    kept: dict[str, int]
    reasons: dict[str, int] = {}


class Amount(_Part):
    documents: int = 0
    characters: int = 0


class PackedSplit(_Part):
    """Counts of one split's sequences. `loss_tokens`: those with a label."""

    sequences: int = 0
    documents: int = 0
    tokens: int = 0
    padding_tokens: int = 0
    loss_tokens: int = 0
    fim_pieces: int = 0
    plain_pieces: int = 0
    too_long: int = 0


class Sentinels(_Part):
    """The tokens of fill-in-the-middle. `added`: put into embedding rows that the model had left unused."""

    format: str
    prefix: tuple[str, int]
    suffix: tuple[str, int]
    middle: tuple[str, int]
    added: bool


class Packing(_Part):
    sequence_tokens: int
    tokenizer_sha256: str
    end_of_document: tuple[str, int]
    fim_rate: float
    sentinels: Sentinels | None
    splits: dict[Split, PackedSplit]


class Contaminated(_Part):
    """A document that was dropped because it overlaps an evaluation problem."""

    document: str
    problem: str


class CorpusManifest(_Part):
    hash: str = Field(description="Of inputs, options and outputs together: the name of this corpus.")
    inputs_hash: str
    options_hash: str
    outputs_hash: str
    options: dict[str, Any]
    repositories: list[RepositoryEntry]
    licences: dict[str, Amount] = Field(description="Documents kept, by licence.")
    filters: list[FilterCount] = Field(description="In the order in which they ran.")
    redactions: dict[str, int] = Field(description="Values replaced, by kind.")
    contaminated: list[Contaminated]
    documents: dict[Split, dict[str, Amount]] = Field(description="By language.")
    kinds: dict[Split, dict[str, Amount]] = Field(description="Code, replay and instructions.")
    blocks: dict[str, int] = Field(description="Vue: how many blocks of each form.")
    packing: Packing | None
    files: dict[str, CorpusFile] = Field(description="By path inside the corpus.")
    made_with: dict[str, str] = Field(description="Library versions; not part of the hash.")


def canonical_hash(value: Any) -> str:
    """sha256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_corpus_manifest(folder: Path) -> CorpusManifest:
    """The manifest of a corpus folder. Raises CorpusUnusable when there is none or it is damaged."""
    path = folder / MANIFEST_FILE
    try:
        return CorpusManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CorpusUnusable(
            f"{folder} is not a corpus: it has no {MANIFEST_FILE}. "
            "Build one with `python -m finetune.corpus`."
        ) from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise CorpusUnusable(
            f"{path} is damaged or of another version: build the corpus again.\n{error}"
        ) from error
