"""Build: read files of scraped repositories, and records of JSONL files and of other corpora.

A document's metadata is its row in the final table; the later steps fill it in.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acepilot.corpus import Kind, Split, canonical_hash
from acepilot.errors import ConfigError
from acepilot.languages import language_for
from finetune.corpus.reading.detect_language import DATA, language_of, may_be_code
from finetune.corpus.reading.excluded_paths import exclusion_reason
from finetune.corpus.tables import read_rows
from finetune.scrape.source_files import bad_name, files_below
from finetune.scrape.source_records import SourceRecord
from finetune.scrape.unreadable import UNREADABLE, why_unreadable

READ = "read"
LANGUAGE_NAME = r"^\w[\w.+#-]{0,39}$"  # it becomes a part of labels
Documents = Iterator[Document] | None
"""What a step passes to the next one."""


@dataclass(frozen=True)
class ScrapedFolder:
    """A repository on disk. Where it is the only one, `split` is None and `file_splits` has each file's."""

    path: Path
    record: SourceRecord
    split: Split | None
    file_splits: Mapping[str, Split] = field(default_factory=dict[str, Split])


@dataclass(frozen=True)
class RecordFile:
    """A JSONL file of `{text}` (replay) or `{prompt, completion}` (instructions), or a corpus's documents."""

    path: Path
    kind: Kind
    split: Split | None = None


class _ReplayRow(BaseModel):
    """What replay takes from a row of another corpus's documents."""

    model_config = ConfigDict(strict=True)

    id: str
    text: str
    language: Annotated[str, Field(pattern=LANGUAGE_NAME)] = "plaintext"
    repository: str = ""
    source: str = ""
    revision: str = ""
    licence: str = ""
    path: str = ""
    prompt_chars: Annotated[int, Field(ge=0)] = 0
    redactions: Annotated[int, Field(ge=0, lt=2**31)] = 0


class ReadRepositories(PipelineStep):
    """Read repositories. Of the first `tasks` tasks, task t reads repositories t, t + tasks, t + 2 tasks ...

    The folder `digests` gets a file for each repository, with the hash of its paths and contents.
    """

    type = "reader"
    name = READ

    def __init__(
        self, folders: Sequence[ScrapedFolder], tasks: int, digests: Path, max_file_bytes: int
    ) -> None:
        super().__init__()
        self.folders = tuple(folders)
        self.tasks = tasks
        self.digests = digests
        self.max_file_bytes = max_file_bytes

    def run(self, data: Documents = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:  # pyright: ignore[reportIncompatibleMethodOverride]
        numbers = range(rank, len(self.folders), self.tasks) if rank < self.tasks else ()
        for number in numbers:
            folder = self.folders[number]
            digest = hashlib.sha256()
            for inside in files_below(folder.path):
                document = self._read(folder, inside, digest.update)
                if isinstance(document, Document):
                    self.stat_update(f"{READ}|{document.metadata['language']}|kept")
                    yield document
                else:
                    self.stat_update(f"{READ}|{language_for(path=inside).id}|{document}")
            self.digests.mkdir(parents=True, exist_ok=True)
            (self.digests / f"{number:05d}").write_text(digest.hexdigest(), encoding="ascii")

    def _read(
        self, folder: ScrapedFolder, inside: str, update_digest: Callable[[bytes], None]
    ) -> Document | str:
        """Return the document, or the reason to skip the file."""
        path = folder.path / inside
        try:
            size = path.stat().st_size
            reason = self._reason(inside, size)
            content = b"" if reason else path.read_bytes()
            sha256 = "" if reason else hashlib.sha256(content).hexdigest()
            update_digest(f"{inside}\0{size}\0{sha256}\n".encode("utf-8", "surrogateescape"))
            return reason or self._document(folder, inside, content)
        except UNREADABLE as error:
            why_unreadable(error)  # a full disk ends the build
            return f"cannot be read ({type(error).__name__})"

    def _reason(self, inside: str, size: int) -> str | None:
        """Return why a file is skipped unread, or None."""
        if bad_name(inside) is not None:
            return "its name is not a valid path in UTF-8"
        if (reason := exclusion_reason(inside)) is not None:
            return reason
        if not may_be_code(inside):
            return "not code by its name"
        if size > self.max_file_bytes:
            return "too large"
        return "empty" if size == 0 else None

    def _document(self, folder: ScrapedFolder, inside: str, content: bytes) -> Document | str:
        """Return the document, or the reason to skip the file."""
        if b"\0" in content[:8_000]:
            return "binary"
        try:
            text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            return "not UTF-8"
        language = language_of(inside, text)
        if language.id in DATA or not text.strip():
            return "not code by its content"
        record = folder.record
        document_id = f"{record.id}@{record.revision[:20]}:{inside}"
        metadata = empty_row("code") | {
            "language": language.id,
            "repository": record.id,
            "source": record.location,
            "revision": record.revision,
            "licence": _licence(record, inside),
            "path": inside,
            "split": folder.split or folder.file_splits[inside],
        }
        return Document(text=text, id=document_id, metadata=metadata)


class ReadRecords(PipelineStep):
    """Pass the documents of the step before on; task `first_rank + n` then reads record file n."""

    type = "reader"
    name = "records"

    def __init__(self, files: Sequence[RecordFile], first_rank: int) -> None:
        super().__init__()
        self.files = tuple(files)
        self.first_rank = first_rank

    def run(self, data: Documents = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:  # pyright: ignore[reportIncompatibleMethodOverride]
        yield from data or ()
        if rank < self.first_rank:
            return
        for document in read_records(self.files[rank - self.first_rank]):
            self.stat_update(f"{READ}|{document.metadata['language']}|kept")
            yield document


class ReadCleaned(PipelineStep):
    """Read in each task the file that the same task of the cleaning wrote, if it wrote one.

    datatrove's JsonlReader assigns files to tasks by their order, so a missing file would shift all others.
    """

    type = "reader"
    name = "cleaned"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: Documents = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:  # pyright: ignore[reportIncompatibleMethodOverride]
        path = self.folder / f"{rank:05d}.jsonl"
        if path.is_file():
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    yield Document(**json.loads(line))


def empty_row(kind: Kind) -> dict[str, Any]:
    unknown = dict.fromkeys(("repository", "source", "revision", "licence", "path", "split"), "")
    numbers = {"prompt_chars": 0, "redactions": 0}
    return {"kind": kind, "language": "plaintext", **unknown, **numbers, "blocks": []}


def read_records(file: RecordFile) -> Iterator[Document]:
    """Yield the documents of a file. Raises ConfigError with the line of a record that lacks a field.

    Unlike a file of a repository, a bad record is not skipped: the user wrote it and can repair it.
    """
    if file.path.suffix == ".parquet":
        try:
            for number, values in enumerate(read_rows(file.path), 1):
                row = _replay_row(file.path, number, values)
                kept = empty_row("replay") | row.model_dump(exclude={"id", "text"}) | {"split": file.split}
                yield Document(text=row.text, id=f"replay:{row.id}", metadata=kept)
        except (*UNREADABLE, TypeError) as error:  # pyarrow raises any of these for a damaged table
            raise ConfigError(
                f"{file.path} cannot be read ({why_unreadable(error)}): build that corpus again."
            ) from error
        return
    with file.path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _record(file, number, line)


def _replay_row(path: Path, number: int, values: dict[str, Any]) -> _ReplayRow:
    try:
        row = _ReplayRow.model_validate(values)
        wrong = {"prompt_chars"} if row.prompt_chars > len(row.text) else set[str]()
    except ValidationError as error:  # whose message has the values, and so the user's code
        row, wrong = None, {str(one["loc"][0]) for one in error.errors(include_input=False)}
    if row is None or wrong:
        raise ConfigError(
            f"{path}, row {number}: missing or of a wrong type: {', '.join(sorted(wrong))}. Build it again."
        )
    return row


def _record(file: RecordFile, number: int, line: bytes) -> Document:
    try:
        record: dict[str, Any] = json.loads(line)
        prompt = str(record["prompt"]) if file.kind == "instruction" else ""
        body = str(record["completion" if file.kind == "instruction" else "text"])
        language = str(record.get("language", "plaintext"))
        "".join(
            (prompt, body, language, str(record.get("licence")))
        ).encode()  # JSON may hold half a character
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        fields = "prompt and completion" if file.kind == "instruction" else "text"
        raise ConfigError(
            f"{file.path}, line {number}: not a JSON object with {fields} ({error!r})."
        ) from error
    if not re.fullmatch(LANGUAGE_NAME, language):
        raise ConfigError(f"{file.path}, line {number}: `language` is not the name of a language.")
    name = canonical_hash([prompt, body])[:16]
    metadata = empty_row(file.kind) | {
        "language": language,
        "repository": f"{file.kind}:{file.path.stem}",
        "source": file.path.name,
        "licence": str(record.get("licence", "as given")),
        "split": file.split or "",
        "prompt_chars": len(prompt),
    }
    return Document(text=prompt + body, id=f"{file.kind}:{file.path.stem}:{name}:{number}", metadata=metadata)


def _licence(record: SourceRecord, inside: str) -> str:
    """Return the licence of the nearest folder with a licence text, else the repository's."""
    nested = (record.nested_licences.get(str(folder)) for folder in PurePosixPath(inside).parents)
    return next((licence for licence in nested if licence is not None), record.licence)
