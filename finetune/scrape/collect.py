"""Scrape a list of sources: fetch each, judge its licence, keep or refuse it, and record the result.

A source is done when its record is in sources.jsonl; after a kill, the next run continues with the others.
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
from finetune.scrape.source_records import SourceRecord, append_source_record, read_source_records
from finetune.scrape.sources import Source
from finetune.scrape.unreadable import UNREADABLE, why_unreadable

_REPOSITORIES = "repos"
_PARTIAL = ".fetching"


def collect_sources(
    sources: Sequence[Source],
    out: Path,
    allowed: tuple[str, ...],
    on_progress: Callable[[float], None],
    log: Callable[[str], None],
    *,
    own: bool = False,
) -> list[SourceRecord]:
    """Fetch `sources` into `out` and return the records of all its sources, with those of earlier runs.

    `on_progress` receives the number of finished sources, `log` one line for each. With `own` the sources are
    the user's own code, which needs no licence; subfolders with a licence text of their own are still judged.

    A source that cannot be fetched or read does not stop the others, and has no record. Raises DownloadFailed
    when no source can be fetched, and CorpusUnusable when none has an allowed licence.
    """
    if not sources:
        raise ConfigError("No source was named: give sources, --list, --recipe or --search.")
    (out / _REPOSITORIES).mkdir(parents=True, exist_ok=True)
    try:
        with explain_full_disk(out, "free some space and run this again."):
            failures = _collect_missing(sources, out, allowed, on_progress, log, own)
    finally:
        shutil.rmtree(out / _PARTIAL, ignore_errors=True)
    records = read_source_records(out)
    if len(failures) == len(set(sources)):
        raise DownloadFailed(
            "No source could be fetched. Check the network; sources of earlier runs are kept.\n  "
            + "\n  ".join(failures)
        )
    if not any(record.status == "kept" for record in records):
        raise CorpusUnusable(
            f"None of the sources is under an allowed licence ({', '.join(allowed)}). For your own code, add "
            "--own. Else name other sources, or add a licence that you may use with --allow:\n  "
            + "\n  ".join(f"{record.key}: {record.licence}" for record in records)
        )
    return records


def _collect_missing(
    sources: Sequence[Source],
    out: Path,
    allowed: tuple[str, ...],
    on_progress: Callable[[float], None],
    log: Callable[[str], None],
    own: bool,
) -> list[str]:
    """Collect the sources that are not done, and return the messages of those that could not be fetched.

    A source that an earlier run refused is fetched again if `allowed` or `own` now permits it.
    """
    earlier = read_source_records(out)
    done = {
        record.key
        for record in earlier
        if record.status == "kept" or not (own or is_allowed(record.licence, allowed))
    }
    failures: list[str] = []
    for count, source in enumerate(dict.fromkeys(sources), 1):
        if source.key not in done:
            try:
                record, left_out = _collect(source, out, allowed, own)
                append_source_record(out, record)
                done.add(source.key)
                details = [record.reason or f"{record.files} files", *filter(None, [left_out])]
                log(f"{source.key}: {record.status}, {record.licence}, {'; '.join(details)}")
            except AcepilotError as error:
                failures.append(error.message)
                log(error.message)
            except UNREADABLE as error:  # its licence texts
                failures.append(f"{source.key} cannot be read: {why_unreadable(error)}")
                log(failures[-1])
        on_progress(count)
    return failures


def _collect(source: Source, out: Path, allowed: tuple[str, ...], own: bool) -> tuple[SourceRecord, str]:
    """Return the record, and a description of the files that were left out."""
    partial = out / _PARTIAL / "files"
    shutil.rmtree(partial.parent, ignore_errors=True)
    partial.mkdir(parents=True)
    fetched = fetch(source, partial)
    licence = Licence(OWN, "--own") if own else licence_of(partial)
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", source.key)[-80:].strip("_")
    folder = f"{_REPOSITORIES}/{readable}-{hashlib.sha256(source.key.encode()).hexdigest()[:8]}"
    record = SourceRecord(
        key=source.key,
        id=source.id,
        folder=folder,
        location=fetched.location,
        revision=fetched.revision,
        status="kept" if is_allowed(licence.spdx, allowed) else "refused",
        licence=licence.spdx,
        licence_evidence=licence.evidence,
        dropped_files=len(fetched.files.left_out),
    )
    if record.status == "refused":
        shutil.rmtree(partial)
        record.reason = "this licence is not allowed; for your own code, add --own"
        return record, ""
    record.nested_licences = nested_licences(partial)
    record.files, record.size_bytes = fetched.files.files, fetched.files.size_bytes
    shutil.rmtree(out / folder, ignore_errors=True)  # from a run that was killed before it wrote the record
    partial.replace(out / folder)
    return record, fetched.files.describe_left_out()
