"""Build, the whole story: read, clean, deduplicate, split, mix, pack, and put the finished folder in place.

Everything is made in a hidden folder beside the corpus, which is renamed at the end: a killed or failed build
leaves no half of one, and the next build clears what it left.
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
from finetune.corpus.cleaning.steps import cleaning
from finetune.corpus.documents import DOCUMENTS, REPLAY, FinishRows, documents_writer, mix_replay
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
from finetune.corpus.split import split_files, split_repositories
from finetune.corpus.summary.card import write_card
from finetune.corpus.summary.manifest import account_for, top_reasons
from finetune.corpus.summary.report import write_report
from finetune.corpus.tables import read_rows
from finetune.scrape.licences import is_allowed
from finetune.scrape.source_records import read_source_records

MAX_TASKS = 64
"""Of reading. Fixed: the number of tasks shapes the files, so it may not depend on the machine."""


PACK_CHARACTERS = 50_000_000
"""Of one language, in one task of packing: about a minute."""


@dataclass(frozen=True)
class BuildPlan:
    """What a build works on, once its inputs are known. `sides` are the repositories': one that is alone has
    none, its files have."""

    options: BuildOptions
    folders: tuple[ScrapedFolder, ...]
    records: tuple[RecordFile, ...]
    sides: dict[str, Split | None]

    @property
    def reading_tasks(self) -> int:
        return min(len(self.folders), MAX_TASKS)

    @property
    def tasks(self) -> int:
        return self.reading_tasks + len(self.records)


def build(
    options: BuildOptions, out: Path, runner: Callable[[Path], Runner], log: Callable[[str], None]
) -> CorpusManifest:
    """Builds the corpus at `out`. `runner` makes the executor for a folder of logs; `say` hears of oddities.

    Raises ConfigError, CorpusUnusable, NotEnoughDisk or StageFailed; `out` then does not exist.
    """
    options.check()
    refuse_existing(out)
    out = out.resolve()
    with exclusive(f"corpus-{canonical_hash(str(out))[:16]}"):
        refuse_existing(out)
        staging = out.with_name(f".{out.name}.building")
        shutil.rmtree(staging, ignore_errors=True)
        try:
            with explain_full_disk(out.parent, "free some space, or build in another folder."):
                (staging / "corpus").mkdir(parents=True)
                manifest = _stages(_plan(options), staging, runner(staging / "logs"), log)
                (staging / "corpus").rename(out)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return manifest


def _plan(options: BuildOptions) -> BuildPlan:
    everything = [(folder, one) for folder in options.scraped for one in read_source_records(folder)]
    kept = [(folder, one) for folder, one in everything if one.status == "kept"]
    kept = [(folder, one) for folder, one in kept if is_allowed(one.licence, options.allowed)]
    if not kept:
        found = sorted({one.licence for _, one in everything})
        raise CorpusUnusable(
            f"No repository is under an allowed licence (found: {', '.join(found) or 'nothing'}; allowed: "
            f"{', '.join(options.allowed)}). Scrape others, or add a licence with --allow if you may use it."
        )
    names, share, seed = {one.id for _, one in kept}, options.heldout_share, options.seed
    sides: dict[str, Split | None] = {**split_repositories(sorted(names), share, seed)}
    if len(names) == 1:
        sides = dict.fromkeys(names)
    unique = {(one.id, one.revision): (folder, one) for folder, one in kept}
    folders = [
        ScrapedFolder(
            path := folder / one.folder, one, sides[one.id],
            {} if sides[one.id] else split_files(path, share, seed),
        )
        for _, (folder, one) in sorted(unique.items())
    ]  # fmt: skip
    missing = [str(folder.path) for folder in folders if not folder.path.is_dir()]
    if missing:
        raise CorpusUnusable(f"Scraped folders are gone: {', '.join(missing)}. Scrape again.")
    return BuildPlan(options, tuple(folders), tuple(options.records()), sides)


def _stages(plan: BuildPlan, staging: Path, runner: Runner, log: Callable[[str], None]) -> CorpusManifest:
    options, work, corpus = plan.options, staging / "work", staging / "corpus"
    if options.model is not None:  # first: it is the mistake that would be found last
        prepare_tokenizer(options.model, corpus / "tokenizer", options.fim_rate)

    read = [
        ReadRepositories(plan.folders, plan.reading_tasks, work / "digests", options.max_file_bytes),
        ReadRecords(plan.records, plan.reading_tasks),
    ]
    clean = cleaning(options.allowed, options.languages, options.problems, work / "contaminated")
    writer = JsonlWriter(str(work / "clean"), output_filename="${rank}.jsonl", compression=None)
    runner.run("clean", [*read, *clean, writer], plan.tasks)
    reasons = top_reasons(runner.counts("clean"))
    if not any((work / "clean").glob("*.jsonl")):
        raise CorpusUnusable(
            f"Nothing was left of {len(plan.folders)} repositories. Files were dropped as: {reasons}."
        )

    removals = find_duplicates(runner, [ReadCleaned(work / "clean")], work, plan.tasks)
    finish = FinishRows(plan.sides, options.heldout_share, options.seed)
    steps = [
        ReadCleaned(work / "clean"),
        MinhashDedupFilter(str(removals)),
        finish,
        documents_writer(work / "tables"),
    ]
    runner.run("documents", steps, plan.tasks)
    (work / "tables" / DOCUMENTS).rename(corpus / DOCUMENTS)
    for split in SPLITS:
        if options.replay:
            mix_replay(
                work / "tables" / REPLAY / split,
                corpus / DOCUMENTS / split,
                options.replay_share,
                options.seed,
            )

    if options.model is not None:
        tasks = _pack_tasks(corpus)
        pack = PackDocuments(
            corpus, tasks, options.model, options.sequence_tokens, options.fim_rate, options.seed
        )
        runner.run("pack", [pack], len(tasks))
    manifest = account_for(options, plan.folders, corpus, work, runner)
    if not manifest.documents["heldout"]:
        log("Nothing is held out: the loss on unseen code cannot be measured. Add a second repository.")
    elif plan.folders[0].split is None:
        log(
            "There is one repository, so some of its files are held out: they resemble the rest, and the "
            "loss on them flatters. Add a second repository."
        )
    write_report(manifest, corpus)
    write_card(manifest, corpus)
    return manifest


def _pack_tasks(corpus: Path) -> list[PackTask]:
    """A task for each language of each side, and several where one is large."""
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
