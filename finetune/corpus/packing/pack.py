"""Build, step 9: pack documents into training sequences of one length, several documents in each.

Best-fit packing, longest piece first (Ding et al., 2024): no piece that fits is cut, and there is little
padding. A sequence has one language, so that the held-out loss is known for each language. `position_ids`
restart with each document, which is how training keeps documents apart; see `acepilot.corpus`.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep

from acepilot.corpus import INPUT_IDS, LABELS, LANGUAGE, NO_LOSS, POSITION_IDS, Split
from acepilot.fim import break_special_tokens
from finetune.corpus.packing.fill_in_the_middle import cut, infill_ids, random_for
from finetune.corpus.packing.tokenizer import Vocabulary, load_vocabulary
from finetune.corpus.reading.readers import Documents
from finetune.corpus.tables import PACKED, read_rows, write_rows

_WINDOW = 2_000  # pieces packed together; more would take memory and leave hardly less padding


@dataclass(frozen=True)
class Piece:
    """Token ids of a document or a part of one, with the end token. The first `silent` have no loss."""

    ids: list[int]
    silent: int
    fim: bool = False


@dataclass(frozen=True)
class PackTask:
    """Pack the documents of one language in `tables` into one file."""

    split: Split
    language: str
    number: int
    tables: tuple[Path, ...]

    @property
    def file_name(self) -> str:
        return f"{self.language}-{self.number:05d}.parquet"


def pieces_of(
    row: dict[str, Any], vocabulary: Vocabulary, length: int, fim_rate: float, seed: int
) -> Iterator[Piece]:
    """Yield a document's pieces of at most `length` tokens. An instruction that is longer gives no piece."""
    end = vocabulary.end[1]
    border: int = row["prompt_chars"]
    prompt, text = (
        break_special_tokens(part, vocabulary.special)
        for part in (row["text"][:border], row["text"][border:])
    )
    if row["kind"] == "instruction":
        silent = vocabulary.encode(prompt).ids
        completion = vocabulary.encode(text).ids
        if len(silent) + len(completion) < length:
            yield Piece([*silent, *completion, end], silent=max(len(silent), 1))
        return
    random = random_for(seed, row["id"])
    # 8 tokens of room: the end token, three sentinels, and those that two cuts inside words add.
    for part in cut(vocabulary.encode(text), text, length - 8):
        if vocabulary.sentinels is not None and random.random() < fim_rate:
            ids = [*infill_ids(part, random, vocabulary, vocabulary.sentinels), end]
            if len(ids) <= length:
                yield Piece(ids, silent=1, fim=True)
                continue
        ids = [*vocabulary.encode(part).ids, end]
        for start in range(0, len(ids), length):  # a part may have more tokens alone than within its text
            yield Piece(ids[start : start + length], silent=1)


def fill(pieces: Sequence[Piece], length: int) -> list[list[Piece]]:
    """Return bins of at most `length` tokens: each piece goes into the fullest bin with room for it."""
    bins: list[list[Piece]] = []
    rooms: list[tuple[int, int]] = []  # (room, bin), ascending
    for piece in sorted(pieces, key=lambda piece: -len(piece.ids)):
        at = bisect_left(rooms, (len(piece.ids), 0))
        room, number = rooms.pop(at) if at < len(rooms) else (length, len(bins))
        if number == len(bins):
            bins.append([])
        bins[number].append(piece)
        insort(rooms, (room - len(piece.ids), number))
    return bins


def sequence(pieces: Sequence[Piece], length: int, padding: int) -> dict[str, list[int]]:
    """Return one row: three lists of `length` integers. Padding has positions from 0, like a document."""
    ids: list[int] = []
    positions: list[int] = []
    labels: list[int] = []
    for piece in pieces:
        ids += piece.ids
        positions += range(len(piece.ids))
        labels += [NO_LOSS] * piece.silent + piece.ids[piece.silent :]
    rest = length - len(ids)
    return {
        INPUT_IDS: ids + [padding] * rest,
        POSITION_IDS: positions + list(range(rest)),
        LABELS: labels + [NO_LOSS] * rest,
    }


class PackDocuments(PipelineStep):
    """Write `tasks[rank]` to `packed/<split>/<language>-<number>.parquet`."""

    type = "writer"
    name = "pack"

    def __init__(
        self, corpus: Path, tasks: Sequence[PackTask], model: Path, length: int, fim_rate: float, seed: int
    ) -> None:
        super().__init__()
        self.corpus = corpus
        self.tasks = tuple(tasks)
        self.model = model
        self.length = length
        self.fim_rate = fim_rate
        self.seed = seed

    def run(self, data: Documents = None, rank: int = 0, world_size: int = 1) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        task = self.tasks[rank]
        target = self.corpus / "packed" / task.split / task.file_name
        write_rows(target, PACKED, self._rows(task))

    def _rows(self, task: PackTask) -> Iterator[dict[str, Any]]:
        vocabulary = load_vocabulary(self.corpus / "tokenizer", self.model)
        for window in self._windows(task, vocabulary):
            for pieces in fill(window, self.length):
                row = sequence(pieces, self.length, vocabulary.end[1])
                used = sum(len(piece.ids) for piece in pieces)
                fim = sum(piece.fim for piece in pieces)
                for label, value in (
                    ("sequences", 1),
                    ("tokens", used),
                    ("padding_tokens", self.length - used),
                    ("loss_tokens", sum(label != NO_LOSS for label in row[LABELS])),
                    ("fim_pieces", fim),
                    ("plain_pieces", len(pieces) - fim),
                ):
                    self.stat_update(f"{task.split}|{label}", value=value)
                yield {LANGUAGE: task.language, **row}

    def _windows(self, task: PackTask, vocabulary: Vocabulary) -> Iterator[list[Piece]]:
        window: list[Piece] = []
        for table in task.tables:
            for row in read_rows(table, language=task.language):
                pieces = list(pieces_of(row, vocabulary, self.length, self.fim_rate, self.seed))
                self.stat_update(f"{task.split}|documents" if pieces else f"{task.split}|too_long")
                window += pieces
                if len(window) >= _WINDOW:
                    yield window
                    window = []
        if window:
            yield window
