"""The readers that reader_fuzz.py feeds: each with valid inputs, and the errors that its caller handles."""

import io
import json
import os
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from acepilot.errors import AcepilotError
from finetune.corpus.cleaning.filters import FILTERS, Code
from finetune.corpus.reading.detect_language import language_of
from finetune.corpus.reading.excluded_paths import exclusion_reason
from finetune.corpus.reading.readers import RecordFile, read_records
from finetune.scrape.archives import unpack_npm, unpack_wheel
from finetune.scrape.git_fetch import fetch_git
from finetune.scrape.licences import ALLOWED, is_allowed, licence_of, licence_of_text, tagged_licence
from finetune.scrape.source_files import SourceFiles, bad_name
from finetune.scrape.source_records import SOURCES_FILE, SourceRecord, read_source_records
from finetune.scrape.sources import parse_source, read_list
from finetune.scrape.unreadable import UNREADABLE

Errors = tuple[type[Exception], ...]


@dataclass(frozen=True)
class Target:
    """`read` gets an input and an empty folder. It may raise an AcepilotError or one of `handled`."""

    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[bytes, Path], object]
    handled: Errors = ()
    examples_share: float = 1.0  # of the inputs of others: git takes more than a tenth of a second for one


def _text(data: bytes) -> str:
    """Return text with surrogates, as Python has it of a name or an argument that is not UTF-8."""
    return data.decode("utf-8", "surrogateescape")


# Sources


def _tar() -> list[bytes]:
    found: list[bytes] = []
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(
            fileobj=file, mode="w:gz", compresslevel=0, format=form
        ) as tar:  # so edits reach tar
            for name in ("package/LICENSE", "package/é" + "long/" * 40 + "name.js"):
                member = tarfile.TarInfo(name)
                member.size = 20
                tar.addfile(member, io.BytesIO(b"x" * 20))
            link = tarfile.TarInfo("package/link")
            link.type, link.linkname = tarfile.SYMTYPE, "../../etc/passwd"
            tar.addfile(link)
        found.append(file.getvalue())
    return found


def _npm(data: bytes, folder: Path) -> None:
    (folder / "x.tgz").write_bytes(data)
    unpack_npm(folder / "x.tgz", _files(folder))


def _zip() -> list[bytes]:
    found: list[bytes] = []
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name in ("x/a.py", "x-1.dist-info/LICENSE", "x/é.py", "x/../b.py"):
                archive.writestr(name, "a = 1\n" * 9)
        found.append(file.getvalue())
    return found


def _wheel(data: bytes, folder: Path) -> None:
    (folder / "x.whl").write_bytes(data)
    unpack_wheel(folder / "x.whl", _files(folder))


def _files(folder: Path) -> SourceFiles:
    (folder / "kept").mkdir()
    return SourceFiles(folder / "kept")


def _tree() -> list[bytes]:
    blob = bytes.fromhex("257cc5642cb1a054f08cc83f2d943e56fd3ebe99")  # "foo\n"
    names = (
        b"100644 LICENSE",
        b"100755 a.py",
        b"100644 caf\xe9.py",
        b"120000 link",
        b"160000 sub",
        b"100644 z/a",
    )
    return [b"".join(name + b"\0" + blob for name in names)]


def _git(data: bytes, folder: Path) -> None:
    """Store `data` as a commit's tree, and fetch that commit."""
    (folder / "other").mkdir()

    def git(*words: str, given: bytes = b"") -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        done = subprocess.run(
            ["git", "-C", str(folder / "other"), *identity, *words],
            input=given,
            capture_output=True,
            check=False,
        )
        return done.stdout.decode().strip()

    git("init", "--quiet")
    git("hash-object", "-w", "--stdin", given=b"foo\n")
    tree = git("hash-object", "--literally", "-w", "-t", "tree", "--stdin", given=data)
    git("update-ref", "HEAD", git("commit-tree", tree, "-m", "all"))
    fetch_git(str(folder / "other"), "HEAD", None, _files(folder))


def _package_json(data: bytes, folder: Path) -> None:
    (folder / "package.json").write_bytes(data)
    is_allowed(licence_of(folder).spdx)


def _licence(data: bytes, folder: Path) -> None:
    (folder / "LICENSE").write_bytes(data)
    is_allowed(licence_of(folder).spdx)
    licence_of_text(_text(data))
    is_allowed(tagged_licence(_text(data)) or "MIT")


def _source(data: bytes, folder: Path) -> None:
    (folder / "list.toml").write_bytes(b"sources = [" + json.dumps(_text(data)).encode() + b"]")
    source = parse_source(_text(data))
    if json.dumps([source.key, source.id], ensure_ascii=False).encode() and "\n" not in source.key:
        read_list(folder / "list.toml")


def _records() -> list[bytes]:
    record = SourceRecord(
        key="npm:a@1", id="npm:a", folder="repos/a", location="npm:a@1", revision="sha512-x",
        status="kept", licence="MIT", licence_evidence="LICENSE", nested_licences={"src": "MIT"},
    )  # fmt: skip
    return [record.model_dump_json().encode() + b"\n"]


def _source_records(data: bytes, folder: Path) -> None:
    (folder / SOURCES_FILE).write_bytes(data)
    read_source_records(folder)


def _jsonl(data: bytes, folder: Path) -> None:
    (folder / "x.jsonl").write_bytes(data)
    for document in read_records(RecordFile(folder / "x.jsonl", "instruction")):
        document.text.encode()


def _document(data: bytes, folder: Path) -> None:
    name, _, body = data.partition(b"\n")
    path, text = _text(name), body.decode("utf-8", "replace")
    if bad_name(path) is None and exclusion_reason(path) is None:
        code = Code(text, language_of(path, text), "MIT", ALLOWED)
        for _, check in FILTERS:
            check(code)


DOCUMENTS = (
    b"src/a.py\n# SPDX-License-Identifier: MIT\ndef f(x):\n    return x + 1\n",
    b"src/App.vue\n<script setup lang='ts'>\nlet a = 1\n</script>\n<template><p>{{ a }}</p></template>\n",
    b"a.html\n<html><!-- c --><script>let a</script><body>" + b"words and more " * 9 + b"</body></html>",
    b"run\n#!/usr/bin/env bash\necho 1\n",
)

# Models: their modules are imported only by the process that fuzzes them.


def _gguf() -> list[bytes]:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    fields = [
        text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"),
        text(b"llama.block_count") + struct.pack("<II", 4, 2),
        text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"b"),
        text(b"tokenizer.ggml.scores") + struct.pack("<IIQ2f", 9, 6, 2, 0.5, 1.5),
    ]
    tensor = text(b"output.weight") + struct.pack("<IQQIQ", 2, 32, 2, 0, 0)
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(fields)) + b"".join(fields) + tensor
    return [header + b"\0" * (-len(header) % 32) + struct.pack("<64f", *range(64))]


def _read_gguf(data: bytes, folder: Path) -> None:
    from acepilot.models.gguf_rewrite import needs_rewriting, rewrite_as_q8_0

    (folder / "x.gguf").write_bytes(data)
    if needs_rewriting(folder / "x.gguf"):
        rewrite_as_q8_0(folder / "x.gguf", folder / "y.gguf", lambda done: None)


def _safetensors() -> list[bytes]:
    header = {
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "__metadata__": {"format": "pt"},
    }
    text = json.dumps(header).encode()
    return [struct.pack("<Q", len(text)) + text + struct.pack("<4f", 1, 2, 3, 4)]


def _pickles() -> list[bytes]:
    import torch

    found: list[bytes] = []
    for zipped in (True, False):
        file = io.BytesIO()
        tensor = torch.arange(6.0).reshape(2, 3)
        torch.save({"a": tensor, "b": tensor.t()}, file, _use_new_zipfile_serialization=zipped)
        found.append(file.getvalue())
    return found


def _weights(name: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        from acepilot.models.stored_weights import StoredWeights

        (folder / name).write_bytes(data)
        for tensor in StoredWeights(folder).values():
            tensor.sum()

    return read


def _rewrite_pickled(data: bytes, folder: Path) -> None:
    from acepilot.models.stored_weights import rewrite_pickled

    (folder / "pytorch_model.bin").write_bytes(data)
    rewrite_pickled(folder, ["pytorch_model.bin"])


def _manifest() -> list[bytes]:
    files = {"model.gguf": {"sha256": sha256(b"abc").hexdigest(), "size_bytes": 3}}
    given: dict[str, Any] = {"id": "a", "format": "gguf", "files": files, "base": "b", "licence": "MIT"}
    return [json.dumps({**given, "dtype": "q8_0", "context_tokens": 2048}).encode()]


def _read_manifest(data: bytes, folder: Path) -> None:
    from acepilot.models.manifest import MANIFEST_FILE, read_manifest, verified_hashes

    (folder / MANIFEST_FILE).write_bytes(data)
    (folder / "model.gguf").write_bytes(b"abc")
    read_manifest(folder)
    verified_hashes(folder)


def _gate() -> list[bytes]:
    side = {"name": "a", "files": {"model.gguf": "0" * 64}, "run": "runs/a"}
    numbers = ("base", "candidate", "difference", "lower", "upper", "p_value", "p_adjusted", "margin")
    figures: dict[str, Any] = dict.fromkeys((*numbers, "smallest_visible_drop", "smallest_failed_drop"), 0.5)
    compared = {"problems": 9, "samples": 3, **figures, "verdict": "PASS"}
    report = {
        "verdict": "PASS", "reasons": ["good"], "base": side, "candidate": side, "config_hash": "0",
        "sandbox": "bubblewrap", "alpha": 0.05, "drop_points": 2, "enlarged": False, "seed": 0,
        "samples_to_decide": None, "created": "2026-01-01T00:00:00Z", "git_commit": None, "pool": compared,
        "languages": {"vue": compared},
    }  # fmt: skip
    return [json.dumps(report).encode()]


def _read_gate(data: bytes, folder: Path) -> None:
    from acepilot.models.gate_report import GATE_FILE, read_gate_report

    (folder / GATE_FILE).write_bytes(data)
    read_gate_report(folder)


def _history() -> list[bytes]:
    model = {"name": "a", "files": {"model.gguf": "0" * 64}}
    one = {"at": "2026-01-01T00:00:00Z", "who": "u", "previous": model, "model": model}
    promotions = [{**one, "action": action} for action in ("promote", "promote", "rollback")]
    return [json.dumps({"promotions": promotions}).encode()]


def _read_history(data: bytes, folder: Path) -> None:
    from acepilot.models.promotion_history import read_history

    os.environ["ACEPILOT_HOME"] = str(folder)
    (folder / "promotions").mkdir()
    (folder / "promotions/history.json").write_bytes(data)
    history = read_history()
    print(history.current is history.before_current, file=io.StringIO())


TARGETS: dict[str, Target] = {
    "npm-archive": Target(_tar, _npm, UNREADABLE),
    "wheel": Target(_zip, _wheel, UNREADABLE),
    "git-tree": Target(_tree, _git, UNREADABLE, examples_share=0.02),
    "package.json": Target(lambda: [b'{"a": 1, "license": {"type": "(MIT OR GPL-2.0)"}}'], _package_json),
    "licence": Target(lambda: [b"MIT License\n\nPermission is hereby granted, free of charge, to any person "
                               b"obtaining a copy", b"((MIT AND ISC) OR (GPL-2.0))"], _licence),
    "source": Target(lambda: [b"npm:@a/b@1.0", b"git:https://u:p@h.example:8/x.git@main", b"pypi:rich@1",
                              b"git:git@h:x.git", b"github:a/b@c", b"path:/nowhere"], _source),
    "source-records": Target(_records, _source_records),
    "records": Target(lambda: [b'{"prompt": "a", "completion": "b", "language": "vue"}\n'] * 2, _jsonl),
    "document": Target(lambda: DOCUMENTS, _document, UNREADABLE),
    "gguf": Target(_gguf, _read_gguf),
    "safetensors": Target(_safetensors, _weights("model.safetensors")),
    "pickle": Target(_pickles, _weights("pytorch_model.bin")),
    "pickle-rewrite": Target(_pickles, _rewrite_pickled, (OSError,)),  # the command prints it as a sentence
    "manifest": Target(_manifest, _read_manifest),
    "gate-report": Target(_gate, _read_gate),
    "history": Target(_history, _read_history),
}  # fmt: skip


def handled(target: Target) -> Errors:
    return (AcepilotError, *target.handled)
