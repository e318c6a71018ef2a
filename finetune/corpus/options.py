"""Build: the options that decide what a corpus contains. All are checked before any work starts."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from acepilot.corpus import SPLITS, CorpusUnusable, read_corpus_manifest
from acepilot.errors import ConfigError
from acepilot.models.manifest import MANIFEST_FILE, sha256_of
from finetune.corpus.reading.readers import RecordFile
from finetune.scrape.licences import ALLOWED
from finetune.scrape.source_records import SOURCES_FILE


@dataclass(frozen=True)
class BuildOptions:
    """The options that change a corpus's content. Shares and rates are in [0, 1].

    `languages` are the ids to keep of scraped code; empty means all. `replay` has folders of other corpora
    and JSONL files of {text, language}; `instructions` has JSONL files of {prompt, completion}; `problems`
    has JSONL files of evaluation problems; `model` is a folder with a tokenizer.
    """

    scraped: tuple[Path, ...]
    allowed: tuple[str, ...] = ALLOWED
    languages: tuple[str, ...] = ()
    heldout_share: float = 0.1
    max_file_bytes: int = 1_000_000
    problems: tuple[Path, ...] = ()
    replay: tuple[Path, ...] = ()
    replay_share: float = 0.2
    instructions: tuple[Path, ...] = ()
    model: Path | None = None
    sequence_tokens: int = 2048
    fim_rate: float = 0.5
    seed: int = 0

    def check(self) -> None:
        """Raise ConfigError with all mistakes at once."""
        mistakes = [
            f"{folder} has no {SOURCES_FILE}: fill it with `python -m finetune.scrape`"
            for folder in self.scraped
            if not (folder / SOURCES_FILE).is_file()
        ]
        given = (*self.problems, *self.instructions, *self.replay)
        mistakes += [f"{path} does not exist" for path in given if not path.exists()]
        for name, value in (
            ("heldout-share", self.heldout_share),
            ("replay-share", self.replay_share),
            ("fim-rate", self.fim_rate),
        ):
            if not 0 <= value <= 1 or (name != "fim-rate" and value == 1):
                mistakes.append(
                    f"--{name} {value} is not a share: give a number from 0 to 1 (below 1, except for "
                    "--fim-rate)"
                )
        if self.sequence_tokens < 16:
            mistakes.append(
                f"--sequence-tokens {self.sequence_tokens} is too short for a document: give at least 16"
            )
        if self.model is not None and not self.model.is_dir():
            mistakes.append(f"--model {self.model} is not a folder: give a folder with tokenizer.json")
        if mistakes:
            raise ConfigError("This corpus cannot be built:\n  " + "\n  ".join(mistakes))

    def records(self) -> list[RecordFile]:
        """Return the record files in a fixed order. Raises CorpusUnusable for a folder without a corpus."""
        files: list[RecordFile] = []
        for path in self.replay:
            if path.is_dir():
                read_corpus_manifest(path)
                for split in SPLITS:
                    tables = sorted((path / "documents" / split).glob("*.parquet"))
                    files += [RecordFile(table, "replay", split) for table in tables]
            else:
                files.append(RecordFile(path, "replay"))
        return files + [RecordFile(path, "instruction") for path in self.instructions]

    def described(self) -> dict[str, Any]:
        """Return the options for the manifest, with hashes for files, so that paths do not matter."""
        described = asdict(self) | {
            "scraped": len(self.scraped),
            "problems": [_by_content(path) for path in self.problems],
            "replay": [_by_content(path) for path in self.replay],
            "instructions": [_by_content(path) for path in self.instructions],
            "model": _by_content(self.model / "tokenizer.json") if self.model else None,
            "allowed": sorted(self.allowed),
        }
        if not self.languages:  # added later: without it, the hash of an older corpus must not change
            del described["languages"]
        if self.model is None:
            described = {
                key: value for key, value in described.items() if key not in ("sequence_tokens", "fim_rate")
            }
        return described


def _by_content(path: Path) -> dict[str, str]:
    if path.is_dir():
        return {"corpus": read_corpus_manifest(path).hash}
    if not path.is_file():
        raise CorpusUnusable(f"{path} is not a file: check the path.")
    return {"name": path.name, "sha256": sha256_of(path)}


def refuse_existing(out: Path) -> None:
    """Raise ConfigError when `out` exists: a model's manifest may name that corpus as its data."""
    if out.exists():
        what = "holds a corpus already" if (out / MANIFEST_FILE).is_file() else "exists already"
        raise ConfigError(f"{out} {what}: choose another folder, or remove it first.")
