"""Build, step 10: write the manifest with inputs, the counts of each filter, outputs, and hashes of all."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from acepilot.corpus import (
    SPLITS,
    Amount,
    Contaminated,
    CorpusManifest,
    FilterCount,
    PackedSplit,
    Packing,
    RepositoryEntry,
    Split,
    canonical_hash,
)
from acepilot.models.manifest import MANIFEST_FILE, StoredFile, sha256_of, write_atomically
from finetune.corpus.cleaning.filters import FILTERS
from finetune.corpus.cleaning.steps import DECONTAMINATE, LANGUAGE_FILTER
from finetune.corpus.documents import DOCUMENTS, NEAR_DUPLICATES
from finetune.corpus.executors import Runner
from finetune.corpus.options import BuildOptions
from finetune.corpus.packing.tokenizer import load_vocabulary
from finetune.corpus.reading.readers import READ, ScrapedFolder
from finetune.corpus.tables import read_rows

_FILTER_NAMES = (*(name for name, _ in FILTERS), DECONTAMINATE)
_BySplit = dict[Split, dict[str, Amount]]
_LIBRARIES = ("datatrove", "detect-secrets", "tree-sitter-language-pack", "pyarrow", "tokenizers")


def write_corpus_manifest(
    options: BuildOptions, folders: Sequence[ScrapedFolder], corpus: Path, work: Path, runner: Runner
) -> CorpusManifest:
    """Count and hash a finished corpus, and write its manifest."""
    cleaned, finished = runner.counts("clean"), runner.counts("documents")
    language = (LANGUAGE_FILTER,) if options.languages else ()
    filters = [_filter_count(name, cleaned) for name in (READ, *language, *_FILTER_NAMES)]
    filters.append(_deduplication(filters[-1], finished))
    repositories = [_entry(number, folder, work / "digests") for number, folder in enumerate(folders)]
    documents, kinds, licences = _amounts(corpus)
    files = _files(corpus)
    described = options.described()
    records = [described[name] for name in ("replay", "instructions")]
    inputs_hash = canonical_hash([[entry.model_dump(exclude={"split"}) for entry in repositories], records])
    options_hash = canonical_hash(described)
    outputs_hash = canonical_hash({name: file.sha256 for name, file in files.items()})
    manifest = CorpusManifest(
        hash=canonical_hash([inputs_hash, options_hash, outputs_hash]),
        inputs_hash=inputs_hash,
        options_hash=options_hash,
        outputs_hash=outputs_hash,
        options=described,
        repositories=repositories,
        licences=licences,
        filters=filters,
        redactions=_by_prefix("redacted", cleaned),
        contaminated=_contaminated(work / "contaminated"),
        documents=documents,
        kinds=kinds,
        blocks=_by_prefix("block", finished),
        packing=_packing(options, corpus, runner),
        files=files,
        made_with={library: version(library) for library in _LIBRARIES},
    )
    write_atomically(corpus / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")
    return manifest


def top_reasons(counts: Counter[str]) -> str:
    """Return the most frequent reasons for dropped files as a phrase."""
    reasons: Counter[str] = Counter()
    for label, count in counts.items():
        name, _, reason = label.rpartition("|")
        if "|" in name and reason != "kept":
            reasons[reason] += count
    most = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(5))
    return most or "there were no files"


def _filter_count(name: str, counts: Counter[str]) -> FilterCount:
    seen, kept, reasons = Counter[str](), Counter[str](), Counter[str]()
    for label, count in counts.items():
        if label.startswith(f"{name}|"):
            _, language, reason = label.split("|", 2)
            seen[language] += count
            (kept if reason == "kept" else reasons)[language if reason == "kept" else reason] += count
    return FilterCount(name=name, seen=_sorted(seen), kept=_sorted(kept), reasons=_sorted(reasons))


def _deduplication(before: FilterCount, finished: Counter[str]) -> FilterCount:
    """Compute the counts from the steps before and after: datatrove's filter does not count languages."""
    kept = {
        label.split("|")[1]: count for label, count in finished.items() if label.startswith(NEAR_DUPLICATES)
    }
    dropped = sum(before.kept.values()) - sum(kept.values())
    reasons = {"similar to one that is kept": dropped} if dropped else {}
    return FilterCount(name=NEAR_DUPLICATES, seen=before.kept, kept=_sorted(Counter(kept)), reasons=reasons)


def _entry(number: int, folder: ScrapedFolder, digests: Path) -> RepositoryEntry:
    record = folder.record
    return RepositoryEntry(
        id=record.id,
        source=record.location,
        revision=record.revision,
        licence=record.licence,
        split=folder.split,
        content_sha256=(digests / f"{number:05d}").read_text(encoding="ascii"),
    )


def _amounts(corpus: Path) -> tuple[_BySplit, _BySplit, dict[str, Amount]]:
    """Return the amounts by split and language, by split and kind, and by licence."""
    languages: _BySplit = {split: defaultdict(Amount) for split in SPLITS}
    kinds: _BySplit = {split: defaultdict(Amount) for split in SPLITS}
    licences: dict[str, Amount] = defaultdict(Amount)
    for split in SPLITS:
        for path in sorted((corpus / DOCUMENTS / split).glob("*.parquet")):
            for row in read_rows(path, ("language", "kind", "licence", "text")):
                for amount in (
                    languages[split][row["language"]],
                    kinds[split][row["kind"]],
                    licences[row["licence"]],
                ):
                    amount.documents += 1
                    amount.characters += len(row["text"])
    return (
        {split: dict(sorted(amounts.items())) for split, amounts in languages.items()},
        {split: dict(sorted(amounts.items())) for split, amounts in kinds.items()},
        dict(sorted(licences.items())),
    )


def _packing(options: BuildOptions, corpus: Path, runner: Runner) -> Packing | None:
    if options.model is None:
        return None
    counts = runner.counts("pack")
    vocabulary = load_vocabulary(corpus / "tokenizer", options.model)
    return Packing(
        sequence_tokens=options.sequence_tokens,
        tokenizer_sha256=sha256_of(corpus / "tokenizer" / "tokenizer.json"),
        end_of_document=vocabulary.end,
        fim_rate=options.fim_rate,
        sentinels=vocabulary.sentinels if options.fim_rate else None,
        splits={split: PackedSplit(**_by_prefix(split, counts)) for split in SPLITS},
    )


def _files(corpus: Path) -> dict[str, StoredFile]:
    paths = [path for path in sorted(corpus.rglob("*")) if path.is_file()]
    return {
        path.relative_to(corpus).as_posix(): StoredFile(
            sha256=sha256_of(path), size_bytes=path.stat().st_size
        )
        for path in paths
    }


def _contaminated(folder: Path) -> list[Contaminated]:
    texts = [path.read_text(encoding="ascii") for path in sorted(folder.glob("*.jsonl"))]
    pairs = [json.loads(line) for text in texts for line in text.split("\n") if line]
    return [Contaminated(document=document, problem=problem) for document, problem in pairs]


def _by_prefix(prefix: str, counts: Counter[str]) -> dict[str, int]:
    return {
        label.removeprefix(f"{prefix}|"): count
        for label, count in sorted(counts.items())
        if label.startswith(f"{prefix}|")
    }


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
