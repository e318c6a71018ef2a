"""Build a corpus: read, clean, deduplicate, split, mix in replay, pack, and move the folder into place.

All files are made in a hidden folder beside the corpus, which is renamed at the end: a killed or failed build
leaves no partial corpus, and the next build removes its files.
"""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datatrove.pipeline.dedup.minhash import MinhashDedupFilter
from datatrove.pipeline.writers.jsonl import JsonlWriter

from acepilot.corpus import SPLITS, CorpusManifest, CorpusUnusable, Split, canonical_hash
from acepilot.disk import explain_full_disk
from acepilot.models.registry import exclusive
from finetune.corpus.cleaning.near_duplicates import find_duplicates
from finetune.corpus.cleaning.steps import cleaning_steps
from finetune.corpus.documents import DOCUMENTS, REPLAY, FinishRows, documents_writer
from finetune.corpus.executors import Runner
from finetune.corpus.options import BuildOptions, refuse_existing
from finetune.corpus.packing.pack import PackDocuments, PackTask
from finetune.corpus.packing.tokenizer import prepare_tokenizer
from finetune.corpus.reading.readers import (
    ReadCleaned,
    ReadRecords,
    ReadRepositories,
    RecordFile,
    ScrapedFolder,
)
from finetune.corpus.replay import mix_replay
from finetune.corpus.split import split_files, split_names
from finetune.corpus.summary.manifest import top_reasons, write_corpus_manifest
from finetune.corpus.summary.report import render_report, write_card
from finetune.corpus.tables import read_rows
from finetune.scrape.licences import is_allowed
from finetune.scrape.source_records import read_source_records

MAX_READING_TASKS = 64
"""Upper limit of tasks that read repositories. It is fixed because the number of tasks changes the files,
and the same input must give the same corpus on every machine."""

PACK_CHARACTERS = 50_000_000
"""Characters of one language in one packing task: about a minute of work."""


@dataclass(frozen=True)
class BuildPlan:
    """The inputs of a build. `splits` has each repository's split, or None where its files are split."""

    options: BuildOptions
    folders: tuple[ScrapedFolder, ...]
    records: tuple[RecordFile, ...]
    splits: dict[str, Split | None]

    @property
    def reading_tasks(self) -> int:
        return min(len(self.folders), MAX_READING_TASKS)

    @property
    def tasks(self) -> int:
        return self.reading_tasks + len(self.records)


def build(
    options: BuildOptions, out: Path, runner: Callable[[Path], Runner], log: Callable[[str], None]
) -> CorpusManifest:
    """Build the corpus at `out`. `runner` makes the executor for a folder of logs; `log` receives warnings.

    Raises ConfigError, CorpusUnusable, NotEnoughDisk or StageFailed; then `out` does not exist.
    """
    options.check()
    refuse_existing(out)
    out = out.resolve()
    with exclusive(f"corpus-{canonical_hash(str(out))[:16]}"):
        refuse_existing(out)
        staging = out.with_name(f".{out.name}.building")
        shutil.rmtree(staging, ignore_errors=True)
        try:
            with explain_full_disk(out.parent, "free some space, or build the corpus in another folder."):
                (staging / "corpus").mkdir(parents=True)
                manifest = _run_stages(_plan(options), staging, runner(staging / "logs"), log)
                (staging / "corpus").rename(out)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return manifest


def _plan(options: BuildOptions) -> BuildPlan:
    records = [(folder, record) for folder in options.scraped for record in read_source_records(folder)]
    kept = [
        (folder, record)
        for folder, record in records
        if record.status == "kept" and is_allowed(record.licence, options.allowed)
    ]
    if not kept:
        found = sorted({record.licence for _, record in records})
        raise CorpusUnusable(
            f"No repository is under an allowed licence (found: {', '.join(found) or 'nothing'}; allowed: "
            f"{', '.join(options.allowed)}). Scrape others, or add a licence with --allow if you may use it."
        )
    names, share, seed = {record.id for _, record in kept}, options.heldout_share, options.seed
    splits: dict[str, Split | None] = {**split_names(names, share, seed)}
    if len(names) == 1:
        splits = dict.fromkeys(names)
    unique = {(record.id, record.revision): (folder, record) for folder, record in kept}
    folders = [
        ScrapedFolder(
            path := folder / record.folder, record, splits[record.id],
            {} if splits[record.id] else split_files(path, share, seed),
        )
        for _, (folder, record) in sorted(unique.items())
    ]  # fmt: skip
    missing = [str(folder.path) for folder in folders if not folder.path.is_dir()]
    if missing:
        raise CorpusUnusable(f"Scraped folders are missing: {', '.join(missing)}. Scrape them again.")
    return BuildPlan(options, tuple(folders), tuple(options.records()), splits)


def _run_stages(plan: BuildPlan, staging: Path, runner: Runner, log: Callable[[str], None]) -> CorpusManifest:
    options, work, corpus = plan.options, staging / "work", staging / "corpus"
    if options.model is not None:  # first, so that a wrong model is reported before hours of work
        prepare_tokenizer(options.model, corpus / "tokenizer", options.fim_rate)

    read = [
        ReadRepositories(plan.folders, plan.reading_tasks, work / "digests", options.max_file_bytes),
        ReadRecords(plan.records, plan.reading_tasks),
    ]
    clean = cleaning_steps(options.allowed, options.languages, options.problems, work / "contaminated")
    writer = JsonlWriter(str(work / "clean"), output_filename="${rank}.jsonl", compression=None)
    runner.run("clean", [*read, *clean, writer], plan.tasks)
    reasons = top_reasons(runner.counts("clean"))
    if not any((work / "clean").glob("*.jsonl")):
        raise CorpusUnusable(
            f"The filters dropped every file of {len(plan.folders)} repositories. Reasons: {reasons}. Name "
            "other sources, or check --language."
        )

    removals = find_duplicates(runner, [ReadCleaned(work / "clean")], work, plan.tasks)
    finish = FinishRows(plan.splits, options.heldout_share, options.seed)
    deduplicate = MinhashDedupFilter(str(removals))
    steps = [ReadCleaned(work / "clean"), deduplicate, finish, documents_writer(work / "tables")]
    runner.run("documents", steps, plan.tasks)
    (work / "tables" / DOCUMENTS).rename(corpus / DOCUMENTS)
    for split in SPLITS:
        if options.replay:
            replay = work / "tables" / REPLAY / split
            mix_replay(replay, corpus / DOCUMENTS / split, options.replay_share, options.seed)

    if options.model is not None:
        tasks = _pack_tasks(corpus)
        pack = PackDocuments(
            corpus, tasks, options.model, options.sequence_tokens, options.fim_rate, options.seed
        )
        runner.run("pack", [pack], len(tasks))
    manifest = write_corpus_manifest(options, plan.folders, corpus, work, runner)
    if not manifest.documents["heldout"]:
        log(
            "No document is held out, so the loss on unseen code cannot be measured. Add a second repository."
        )
    elif plan.folders[0].split is None:
        log(
            "There is one repository, so some of its files are held out. They resemble the others, so their "
            "loss is lower than that of unseen code. Add a second repository."
        )
    (corpus / "report.html").write_text(render_report(manifest), encoding="utf-8")
    write_card(manifest, corpus)
    return manifest


def _pack_tasks(corpus: Path) -> list[PackTask]:
    """Return a task for each language of each split, and several for a large language."""
    tasks: list[PackTask] = []
    for split in SPLITS:
        characters: Counter[str] = Counter()
        tables = sorted((corpus / DOCUMENTS / split).glob("*.parquet"))
        for table in tables:
            for row in read_rows(table, ("language", "text")):
                characters[row["language"]] += len(row["text"])
        for language, size in sorted(characters.items()):
            parts = min(len(tables), -(-size // PACK_CHARACTERS))
            for number in range(parts):
                tasks.append(PackTask(split, language, number, tuple(tables[number::parts])))
    return tasks
