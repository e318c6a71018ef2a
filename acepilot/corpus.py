"""The files of a corpus: its tables' columns and its manifest. finetune/corpus writes it, training reads it.

CORPUS/
├── manifest.json                sources, what every filter removed, hashes of all files
├── report.html                  the same for people
├── README.md                    lists the tables for the `datasets` library
├── documents/{train,heldout}/   one row per file: its text and its source
├── packed/{train,heldout}/      one row per training sequence, if a tokenizer was given
└── tokenizer/                   the tokenizer of `packed`, with sentinels added if it had none
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from acepilot.errors import AcepilotError
from acepilot.models.manifest import MANIFEST_FILE, FilePart, StoredFile

Split = Literal["train", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "heldout")
Kind = Literal["code", "replay", "instruction"]

INPUT_IDS = "input_ids"
POSITION_IDS = "position_ids"
"""Starts again at 0 for each document of a sequence: attention separates documents by this alone."""

LABELS = "labels"
"""Equal to `input_ids`, not shifted; `NO_LOSS` at tokens that do not count for the loss."""

NO_LOSS = -100
"""The label of padding, of the first token of each document, and of an instruction's prompt."""

LANGUAGE = "language"
"""All documents of a packed row have the same language."""


class CorpusUnusable(AcepilotError):
    """No corpus can be built from the input, or the folder is not a complete corpus."""

    code = "corpus_unusable"
    status = 422


class RepositoryEntry(FilePart):
    """One source. `content_sha256` covers path and bytes of each file, filtered out or not.

    `split` is None if it is the only source: then its files are divided between the splits.
    """

    id: str
    source: str
    revision: str
    licence: str
    split: Split | None
    content_sha256: str


class FilterCount(FilePart):
    """Documents that one filter saw and kept, by language; `reasons` counts the documents that it dropped."""

    name: str
    seen: dict[str, int]
    kept: dict[str, int]
    reasons: dict[str, int] = Field(default={})


class Amount(FilePart):
    documents: int = 0
    characters: int = 0


class PackedSplit(FilePart):
    """Counts of one split's sequences. `loss_tokens` are the tokens with a label."""

    sequences: int = 0
    documents: int = 0
    tokens: int = 0
    padding_tokens: int = 0
    loss_tokens: int = 0
    fim_pieces: int = 0
    plain_pieces: int = 0
    too_long: int = 0


class Sentinels(FilePart):
    """The tokens of fill-in-the-middle. If `added`, they use embedding rows that the model had not used."""

    format: str
    prefix: tuple[str, int]
    suffix: tuple[str, int]
    middle: tuple[str, int]
    added: bool


class Packing(FilePart):
    sequence_tokens: int
    tokenizer_sha256: str
    end_of_document: tuple[str, int]
    fim_rate: float
    sentinels: Sentinels | None
    splits: dict[Split, PackedSplit]


class Contaminated(FilePart):
    """A document that was dropped because it overlaps an evaluation problem."""

    document: str
    problem: str


class CorpusManifest(FilePart):
    hash: str = Field(description="Hash of inputs, options and outputs together; it identifies the corpus.")
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
    blocks: dict[str, int] = Field(description="Blocks of Vue files, by form.")
    packing: Packing | None
    files: dict[str, StoredFile] = Field(description="By path inside the corpus.")
    made_with: dict[str, str] = Field(description="Library versions; not part of the hash.")


def canonical_hash(value: Any) -> str:
    """Return the sha256 of a JSON value, which does not depend on the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_corpus_manifest(folder: Path) -> CorpusManifest:
    """Read the manifest of a corpus folder. Raises CorpusUnusable when it is missing or damaged."""
    path = folder / MANIFEST_FILE
    try:
        return CorpusManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CorpusUnusable(
            f"{folder} is not a corpus: it has no {MANIFEST_FILE}. "
            "Build a corpus with `python -m finetune.corpus`."
        ) from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise CorpusUnusable(
            f"{path} is damaged or of another version: build the corpus again.\n{error}"
        ) from error
