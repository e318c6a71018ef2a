"""Scrape, the whole run: fetch each source, judge its licence, keep or refuse it, and remember that.

A source is settled once its line is in `sources.jsonl`; a killed run goes on with the first that is not.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from acepilot.corpus import CorpusUnusable
from acepilot.disk import explain_full_disk
from acepilot.errors import AcepilotError, ConfigError, DownloadFailed
from finetune.scrape.fetch import fetch
from finetune.scrape.licences import OWN, Licence, is_allowed, licence_of, nested_licences
from finetune.scrape.source_records import (
    REPOSITORIES,
    SourceRecord,
    append_source_record,
    read_source_records,
)
from finetune.scrape.sources import Source

_PARTIAL = ".fetching"


def scrape(
    sources: Sequence[Source],
    out: Path,
    allowed: tuple[str, ...],
    on_progress: Callable[[float], None],
    log: Callable[[str], None],
    *,
    own: bool = False,
) -> list[SourceRecord]:
    """All settled sources of `out`, earlier runs' too. `told` hears how many are done, `say` what happens.
    With `own` the sources are the user's: no licence is asked, except of folders that have their own.

    A source that cannot be fetched does not stop the others. Raises DownloadFailed when none could be, and
    CorpusUnusable when none is under an allowed licence.
    """
    if not sources:
        raise ConfigError("No source was named: give some, a list file, or a search.")
    (out / REPOSITORIES).mkdir(parents=True, exist_ok=True)
    try:
        with explain_full_disk(out, "free some space and run this again."):
            failures = _settle_all(sources, out, allowed, on_progress, log, own)
    finally:
        shutil.rmtree(out / _PARTIAL, ignore_errors=True)
    everything = read_source_records(out)
    if len(failures) == len(set(sources)):
        raise DownloadFailed(
            "No source could be fetched. Check the network; what was fetched before is kept.\n  "
            + "\n  ".join(failures)
        )
    if not any(settled.status == "kept" for settled in everything):
        raise CorpusUnusable(
            "None of the sources is under an allowed licence ("
            + ", ".join(allowed)
            + "). Is the code yours? Then say --own. Else name other sources, or add a licence with --allow "
            "if you may use it:\n  "
            + "\n  ".join(f"{settled.key}: {settled.licence}" for settled in everything)
        )
    return everything


def _settle_all(
    sources: Sequence[Source],
    out: Path,
    allowed: tuple[str, ...],
    on_progress: Callable[[float], None],
    log: Callable[[str], None],
    own: bool,
) -> list[str]:
    """Messages of the sources that could not be fetched. What was refused is judged again by `allowed`."""
    earlier = read_source_records(out)
    done = {
        one.key for one in earlier if one.status == "kept" or not (own or is_allowed(one.licence, allowed))
    }
    failures: list[str] = []
    for count, source in enumerate(dict.fromkeys(sources), 1):
        if source.key not in done:
            try:
                settled = _settle(source, out, allowed, own)
                append_source_record(out, settled)
                done.add(source.key)
                log(f"{source.key}: {settled.status}, {settled.licence}{_because(settled)}")
            except AcepilotError as error:
                failures.append(error.message)
                log(error.message)
        on_progress(count)
    return failures


def _settle(source: Source, out: Path, allowed: tuple[str, ...], own: bool) -> SourceRecord:
    partial = out / _PARTIAL / "files"
    shutil.rmtree(partial.parent, ignore_errors=True)
    partial.mkdir(parents=True)
    fetched = fetch(source, partial)
    licence = Licence(OWN, "--own") if own else licence_of(partial)
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", source.key)[-80:].strip("_")
    folder = f"{REPOSITORIES}/{readable}-{hashlib.sha256(source.key.encode()).hexdigest()[:8]}"
    settled = SourceRecord(
        key=source.key,
        id=source.id,
        folder=folder,
        location=fetched.location,
        revision=fetched.revision,
        status="kept" if is_allowed(licence.spdx, allowed) else "refused",
        licence=licence.spdx,
        licence_evidence=licence.evidence,
        dropped_files=fetched.dropped,
    )
    if settled.status == "refused":
        shutil.rmtree(partial)
        return settled.model_copy(
            update={"reason": "its licence is not on the allow list; is it yours? --own"}
        )
    files = [path.stat().st_size for path in partial.rglob("*") if path.is_file() and not path.is_symlink()]
    settled.nested_licences = nested_licences(partial)
    settled.files, settled.size_bytes = len(files), sum(files)
    shutil.rmtree(out / folder, ignore_errors=True)  # of a run that was killed before its line was written
    partial.replace(out / folder)
    return settled


def _because(settled: SourceRecord) -> str:
    return f" ({settled.reason})" if settled.reason else f", {settled.files} files"
