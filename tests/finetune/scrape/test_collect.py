"""Scraping: sources are pinned, judged by licence, and complete after a kill or a full disk."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from acepilot.corpus import CorpusUnusable
from acepilot.errors import ConfigError, DownloadFailed, NotEnoughDisk
from finetune.corpus.options import BuildOptions
from finetune.scrape.collect import collect_sources
from finetune.scrape.licences import ALLOWED
from finetune.scrape.source_records import SOURCES_FILE, SourceRecord, read_source_records
from finetune.scrape.sources import Source, parse_source
from tests.finetune.handmade import MIT, build_here, repository, write_files

GPL = "GNU General Public License"


def run(sources: list[Source], out: Path) -> list[SourceRecord]:
    return collect_sources(sources, out, ALLOWED, on_progress=lambda _: None, log=lambda _: None)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def history(tmp_path: Path) -> tuple[Path, list[str]]:
    """Return a git repository and its two commits."""
    folder = write_files(tmp_path / "shop", {"LICENSE": MIT, "a.ts": "export const a = 1\n"})
    git(folder, "init", "--quiet")
    commits: list[str] = []
    for text in ("export const a = 1\n", "export const a = 2\n"):
        (folder / "a.ts").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", "a change")
        commits.append(git(folder, "rev-parse", "HEAD"))
    return folder, commits


def test_a_git_repository_is_pinned_to_its_commit(tmp_path: Path, history: tuple[Path, list[str]]) -> None:
    folder, commits = history
    (record,) = run([Source("path", str(folder))], tmp_path / "out")
    assert record.revision == commits[1]
    assert (tmp_path / "out" / record.folder / "a.ts").read_text() == "export const a = 2\n"
    assert not (tmp_path / "out" / record.folder / ".git").exists()


def test_an_older_commit_can_be_named(tmp_path: Path, history: tuple[Path, list[str]]) -> None:
    folder, commits = history
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    (record,) = run([Source("git", f"file://{folder}", commits[0])], tmp_path / "out")
    assert record.revision == commits[0]
    assert (tmp_path / "out" / record.folder / "a.ts").read_text() == "export const a = 1\n"


def test_a_folder_that_is_no_repository_is_pinned_by_its_content(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "shop", {"LICENSE": MIT, "a.ts": "1\n"})
    (first,) = run([Source("path", str(folder))], tmp_path / "one")
    (second,) = run([Source("path", str(folder))], tmp_path / "two")
    (folder / "a.ts").write_text("2\n")
    (third,) = run([Source("path", str(folder))], tmp_path / "three")
    assert first.revision == second.revision != third.revision


def test_a_killed_run_continues_with_the_missing_source(tmp_path: Path) -> None:
    out = tmp_path / "out"
    sources = [
        Source("path", str(write_files(tmp_path / name, {"LICENSE": MIT, "a.ts": f"{name}\n"})))
        for name in ("one", "two")
    ]
    run(sources[:1], out)
    whole = (out / SOURCES_FILE).read_bytes()
    # As after a kill while the second record was written.
    write_files(out, {SOURCES_FILE: whole + b'{"key": "path:/tw', ".fetching/a.ts": "half"})
    shutil.rmtree(tmp_path / "one")  # fetching the first source again would now fail
    lines: list[str] = []
    records = collect_sources(sources, out, ALLOWED, on_progress=lambda _: None, log=lines.append)
    assert [line.partition(": ")[0] for line in lines] == [sources[1].key]
    assert [record.key for record in records] == [source.key for source in sources]
    assert read_source_records(out) == records
    assert not (out / ".fetching").exists()


def test_a_repository_under_another_licence_is_refused_and_not_kept(tmp_path: Path) -> None:
    sources = [
        Source("path", str(write_files(tmp_path / "free", {"LICENSE": MIT, "a.ts": "1"}))),
        Source("path", str(write_files(tmp_path / "gpl", {"COPYING": GPL, "a.ts": "1"}))),
    ]
    free, gpl = run(sources, tmp_path / "out")
    assert (free.status, gpl.status, gpl.licence) == ("kept", "refused", "GPL-3.0")
    assert not (tmp_path / "out" / gpl.folder).exists()


def test_a_refused_source_is_judged_again_when_its_licence_is_added(tmp_path: Path) -> None:
    free = Source("path", str(write_files(tmp_path / "free", {"LICENSE": MIT})))
    mpl = Source(
        "path", str(write_files(tmp_path / "mpl", {"LICENSE": "Mozilla Public License Version 2.0"}))
    )
    assert [record.status for record in run([free, mpl], tmp_path / "out")] == ["kept", "refused"]
    records = collect_sources(
        [free, mpl], tmp_path / "out", (*ALLOWED, "MPL-2.0"), lambda _: None, lambda _: None
    )
    assert [record.status for record in records] == ["kept", "kept"]


def test_own_code_needs_no_licence_but_vendored_folders_in_it_do(tmp_path: Path) -> None:
    files = repository("ours") | {"LICENSE": "All rights reserved", "parts/x/COPYING": GPL}
    files["parts/x/theirs.py"] = repository("theirs")["lib/totals.py"]
    ours = Source("path", str(write_files(tmp_path / "ours", files)))
    forged = {"package.json": '{"license": "own code"}', "a.ts": "1"}
    theirs = Source("path", str(write_files(tmp_path / "theirs", forged)))
    with pytest.raises(CorpusUnusable, match="--own"):
        run([ours, theirs], tmp_path / "out")
    records = collect_sources([ours], tmp_path / "out", ALLOWED, lambda _: None, lambda _: None, own=True)
    assert {record.key: record.status for record in records} == {ours.key: "kept", theirs.key: "refused"}
    corpus = build_here(BuildOptions((tmp_path / "out",)), tmp_path / "corpus")
    assert [one.id for one in corpus.repositories] == ["path:ours"]
    assert set(corpus.licences) == {"own code"}


def test_without_a_permissive_repository_the_error_names_the_licences(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "gpl", {"COPYING": GPL})
    with pytest.raises(CorpusUnusable, match=r"(?s)--allow.*gpl: GPL-3\.0"):
        run([Source("path", str(folder))], tmp_path / "out")


def test_a_source_that_cannot_be_fetched_does_not_stop_the_others(tmp_path: Path) -> None:
    good = Source("path", str(write_files(tmp_path / "good", {"LICENSE": MIT})))
    lines: list[str] = []
    records = collect_sources(
        [Source("path", str(tmp_path / "missing")), good],
        tmp_path / "out",
        ALLOWED,
        lambda _: None,
        lines.append,
    )
    assert [record.key for record in records] == [good.key]
    assert any("missing: it is not a folder" in line for line in lines)


def test_without_a_network_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    sources = [parse_source("npm:buefy@3.1.0"), parse_source("git:http://127.0.0.1:9/a/b.git")]
    with pytest.raises(DownloadFailed, match=r"(?s)Check the network.*npm:buefy@3\.1\.0: npm says.*git says"):
        run(sources, tmp_path / "out")
    assert list((tmp_path / "out" / "repos").iterdir()) == []
    assert read_source_records(tmp_path / "out") == []


def test_a_huge_file_is_left_out_without_being_read(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "shop", {"LICENSE": MIT, "a.ts": "1\n"})
    with (folder / "dump.ts").open("wb") as file:
        file.truncate(1 << 30)  # sparse: a gigabyte that takes no disk
    (record,) = run([Source("path", str(folder))], tmp_path / "out")
    assert record.dropped_files == 1
    assert not (tmp_path / "out" / record.folder / "dump.ts").exists()


def test_no_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No source was named"):
        run([], tmp_path / "out")


def test_a_tool_on_a_full_disk_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = write_files(
        tmp_path / "bin", {"git": "#!/bin/sh\necho 'No space left on device' >&2\nexit 128\n"}
    )
    (tools / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/bin")
    free = Source("path", str(write_files(tmp_path / "free", {"LICENSE": MIT})))
    out = tmp_path / "out"
    with pytest.raises(NotEnoughDisk, match=f"The disk of {out} is full .*run this again"):
        run([free, parse_source("github:a/b@c"), parse_source("github:a/d@c")], out)
    assert [record.key for record in read_source_records(out)] == [free.key]
    assert not (out / ".fetching").exists()


def test_writing_to_a_full_disk_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source("path", str(write_files(tmp_path / "free", {"LICENSE": MIT})))

    def full(path: Path, data: bytes) -> int:
        return os.write(os.open("/dev/full", os.O_WRONLY), data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NotEnoughDisk, match="run this again"):
        run([source], tmp_path / "out")
