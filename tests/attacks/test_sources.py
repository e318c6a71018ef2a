"""Hostile sources: URLs that are options or hold tokens, damaged packages, bombs, slow patterns."""

import base64
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from acepilot.errors import ConfigError, DownloadFailed
from acepilot.languages import language_for
from eval_humaneval.holes.sources import source_files
from finetune.corpus.cleaning import filters, parse_times
from finetune.corpus.cleaning.filters import Code, line_lengths, parse_errors, visible_text
from finetune.corpus.options import BuildOptions
from finetune.corpus.reading.detect_language import language_of
from finetune.corpus.reading.readers import RecordFile, read_records
from finetune.scrape.collect import collect_sources
from finetune.scrape.licences import ALLOWED, is_allowed, licence_of, licence_of_text, nested_licences
from finetune.scrape.sources import Source, parse_source, read_list
from finetune.scrape.tools import run_tool
from tests.finetune.handmade import MIT, SHOPS, build_here, write_files

ROOT = Path(__file__).parents[2]
SECRET = "glpat-Zq81x0Wn3sT7uV2y"
SLOW_S = 3.0
"""Each slow input took more than ten times as long."""


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))


def scrape(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program with a good source besides `words`."""
    good = write_files(tmp_path / "good", {"LICENSE": MIT, "good.py": "x = 1\n"})
    command = [
        sys.executable,
        "-m",
        "finetune.scrape",
        "--out",
        str(tmp_path / "out"),
        *words,
        f"path:{good}",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        cwd=ROOT, env={**os.environ, **environment},
    ) as process:  # fmt: skip
        try:
            output, errors = process.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):  # a bomb that explodes is stopped, too
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def kept(tmp_path: Path) -> dict[str, list[str]]:
    """Return the kept files of each source by the source's key."""
    out = tmp_path / "out"
    if not (out / "sources.jsonl").exists():
        return {}
    records = [json.loads(line) for line in (out / "sources.jsonl").read_text().splitlines()]
    return {
        record["key"]: sorted(
            path.relative_to(out / record["folder"]).as_posix()
            for path in (out / record["folder"]).rglob("*")
            if path.is_file()
        )
        for record in records
        if record["status"] == "kept"
    }


def git(folder: Path, *arguments: str, given: bytes = b"") -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, input=given
    )


def repository(folder: Path, files: dict[str, str | bytes]) -> Path:
    write_files(folder, files)
    git(folder, "init", "--quiet")
    git(folder, "add", "--force", ".")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


@pytest.mark.parametrize(
    "source",
    [
        "git:--upload-pack=touch {mark};false",
        "git:{repository}@--upload-pack=touch mark;git-upload-pack",
        "git:ext::touch {mark}",
        "git:ssh://-oProxyCommand=touch {mark}/x.git",
        "git:-oProxyCommand=touch {mark}:x.git",
    ],
)
def test_no_part_of_a_git_source_runs_a_program(tmp_path: Path, source: str) -> None:
    mark = tmp_path / "mark"
    shop = repository(tmp_path / "shop", {"LICENSE": MIT, "a.py": "a = 1\n"})
    allowing = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.allow", "GIT_CONFIG_VALUE_0": "always"}
    done = scrape(tmp_path, source.format(repository=shop, mark=mark), **allowing)
    assert not list(tmp_path.rglob("mark"))
    assert done.returncode == 2
    assert "not valid" in done.stderr


def test_a_rewritten_url_runs_no_program(tmp_path: Path) -> None:
    """The user's `insteadOf` may name any protocol, also for a submodule or a mirror that he once trusted."""
    shop = repository(tmp_path / "shop", {"LICENSE": MIT, "a.py": "a = 1\n"})
    settings = f'[url "ext::touch {tmp_path}/mark #"]\ninsteadOf = {shop}\n[protocol]\nallow = always\n'
    write_files(tmp_path, {"settings": settings})
    done = scrape(tmp_path, f"git:{shop}", GIT_CONFIG_GLOBAL=str(tmp_path / "settings"))
    assert "transport 'ext' not allowed" in done.stderr
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "text",
    [
        "git:fd::17",
        "git:git://git.example.com/x.git",
        "git:ftp://git.example.com/x.git",
        "git:http://git.example.com/x.git",
        "git:transport::address",
        "git:relative/path",
        "git:https:///x.git",
        "git:ssh://ci:pw@git.example.com/x.git",
        "git:/srv/x.git@--all",
        "github:a/b@--all",
        "github:-a/b",
        "npm:--ignore-scripts",
        "npm:..",
        "npm:a@../../etc",
        "npm:a@owner/repository",
        "npm:a@--registry",
        "pypi:rich@-1",
    ],
)
def test_a_source_that_a_tool_would_take_for_something_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"not valid|not a source"):
        parse_source(text)


@pytest.mark.parametrize(
    "text",
    ["git:git@git.example.com:team/x.git", "git:ssh://git@git.example.com:22/x.git@v1", "git:/srv/x.git@main",
     "git:file:///srv/x.git", "git:https://git.example.com:8443/x.git@main", "git:http://127.0.0.1:9/x.git"],
)  # fmt: skip
def test_the_documented_urls_are_allowed(text: str) -> None:
    assert parse_source(text).key == text


def test_settings_of_the_user_run_nothing_on_a_foreign_repository(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    touch = f"touch {mark}"
    files = {"LICENSE": MIT, "a.py": "a = 1\n", ".gitattributes": "*.py filter=x\n"}
    shop = repository(tmp_path / "shop", files)
    names = ("post-checkout", "reference-transaction")
    hook = write_files(tmp_path / "template/hooks", dict.fromkeys(names, f"#!/bin/sh\n{touch}\n"))
    for name in hook.iterdir():
        name.chmod(0o755)
    settings = f"""
[init]
templateDir = {tmp_path}/template
[core]
hooksPath = {hook}
fsmonitor = {touch}
[filter "x"]
smudge = {touch}; cat
required = true
[protocol]
allow = always
"""
    write_files(tmp_path, {"settings": settings})
    done = scrape(tmp_path, f"path:{shop}", GIT_CONFIG_GLOBAL=str(tmp_path / "settings"))
    assert done.returncode == 0, done.stderr
    assert kept(tmp_path)[f"path:{shop}"] == [".gitattributes", "LICENSE", "a.py"]
    assert not mark.exists()


FAKE_GIT = """#!{python}
import os, sys, time
with open({log!r}, "a") as log:
    log.write(open(f"/proc/{{os.getpid()}}/cmdline").read().replace("\\0", " ") + "\\n")
print("fatal: unable to access", *sys.argv[1:], file=sys.stderr)
sys.exit(0 if "init" in sys.argv else 128)
"""


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/x.git?private_token={secret}",
        "https://ci:{secret}@git.example.com/x.git",
        "HTTPS://ci:{secret}@git.example.com/x.git",
        "https://{secret}@git.example.com/x.git",
        "https://ci:p@{secret}@git.example.com/x.git",
        "https://ci:p/{secret}@git.example.com/x.git",
        "https://ci:p%2F{secret}@git.example.com/x.git@main",
        "ssh://ci:{secret}@git.example.com/x.git",
        "ftp://ci:{secret}@git.example.com/x.git",
        "ci:{secret}@git.example.com:x.git",
        "https://ci:{secret}@git example/x.git",
    ],
)
def test_a_token_in_a_url_is_not_printed_or_kept_or_seen_by_ps(tmp_path: Path, url: str) -> None:
    log = tmp_path / "commands"
    fake = write_files(tmp_path / "bin", {"git": FAKE_GIT.format(python=sys.executable, log=str(log))})
    (fake / "git").chmod(0o755)
    done = scrape(tmp_path, "git:" + url.format(secret=SECRET), PATH=f"{fake}:{os.environ['PATH']}")
    seen = done.stdout + done.stderr + (log.read_text() if log.exists() else "")
    assert SECRET not in seen
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or SECRET not in path.read_text(errors="replace")
    assert done.returncode != 0


@pytest.mark.parametrize(
    "text",
    [
        "https://ci:{secret}@git.example.com/x.git",
        "gti:https://{secret}@a/x.git",
        "github:ci:{secret}@github.com/a/b",
        "github:a/b@{secret}",
        "npm:ci:{secret}@r/x",
        "ci:{secret}@github.com:a/b.git",
        "path:https://ci:{secret}@git.example.com/x.git",
        "path:ci:{secret}@github.com:a/b.git",
        "git:ssh://{secret}@git.example.com/x.git",
        "git:{secret}@git.example.com:a/b",
        "git:/srv/x.git@{secret}",
        "git:/srv/x.git#{secret}",
        "git:https://ci:p#{secret}@git.example.com/x.git",
        "git:https://ci:1#{secret}@git.example.com/x.git",
        "git:ci:1#{secret}@github.com:a/b.git",
    ],
)
def test_a_token_in_a_mistyped_source_is_not_printed(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"not a source|not valid") as caught:
        parse_source(text.format(secret=SECRET))
    assert SECRET not in str(caught.value)
    write_files(tmp_path, {"list": f"# ours\n{text.format(secret=SECRET)}\n"})
    with pytest.raises(ConfigError, match="entry 2") as caught:
        read_list(tmp_path / "list")
    assert SECRET not in str(caught.value)


class Server(BaseHTTPRequestHandler):
    """It asks for credentials, and at `/redirect` sends git to another site."""

    asked: list[tuple[str, str]]
    elsewhere: str

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        type(self).asked.append((self.path, base64.b64decode(given.removeprefix("Basic ")).decode()))
        if self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", type(self).elsewhere + self.path.removeprefix("/redirect"))
        elif given:
            self.send_response(404)
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def sites() -> Iterator[list[tuple[str, list[tuple[str, str]]]]]:
    """Two HTTP servers: each one's URL, and the paths and credentials that it was asked with."""
    servers = []
    for _ in range(2):
        handler = type("Handler", (Server,), {"asked": [], "elsewhere": ""})
        servers.append((HTTPServer(("127.0.0.1", 0), handler), handler))
    urls = [f"http://127.0.0.1:{server.server_port}" for server, _ in servers]
    servers[0][1].elsewhere = urls[1]
    for server, _ in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [(url, handler.asked) for url, (_, handler) in zip(urls, servers, strict=True)]
    for server, _ in servers:
        server.shutdown()
        server.server_close()


def test_git_gets_the_token_for_its_site_and_no_other(
    tmp_path: Path, sites: list[tuple[str, list[tuple[str, str]]]]
) -> None:
    (first, asked), (_, asked_elsewhere) = sites
    there = first.replace("http://", f"git:http://ci:p%2F%40{SECRET}@")
    scrape(tmp_path, f"{there}/x.git", f"{there}/redirect/x.git")
    assert ("/x.git/info/refs?service=git-upload-pack", f"ci:p/@{SECRET}") in asked
    assert [path for path, _ in asked_elsewhere] == ["/x.git/info/refs?service=git-upload-pack"]
    assert not any(given for _, given in asked_elsewhere)


def test_a_tool_that_hangs_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune.scrape import tools

    os.mkfifo(tmp_path / "open")
    script = f"#!/bin/sh\nsleep 600 > {tmp_path}/open &\nwait\n"
    (write_files(tmp_path, {"tool": script}) / "tool").chmod(0o755)
    monkeypatch.setattr(tools, "TIMEOUT_S", 2.0)
    ended: list[str] = []
    reader = threading.Thread(target=lambda: ended.append((tmp_path / "open").read_text()), daemon=True)
    reader.start()
    with pytest.raises(DownloadFailed, match="took more than"):
        tools.run_tool([str(tmp_path / "tool")], tmp_path, os.environ)
    reader.join(20)
    assert ended == [""]  # its child, which would hold the file open, has ended


def surrogate_name(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.py")).write_text("secret_name = 1\n")


def test_a_file_whose_name_is_not_utf8_is_left_out_and_named(tmp_path: Path) -> None:
    plain = write_files(tmp_path / "plain", {"LICENSE": MIT, "a.py": "a = 1\n", "n\nl.py": "a = 2\n"})
    surrogate_name(plain)
    versioned = write_files(tmp_path / "versioned", {"LICENSE": MIT, "a.py": "a = 3\n"})
    surrogate_name(versioned)
    repository(versioned, {})
    done = scrape(tmp_path, f"path:{plain}", f"path:{versioned}")
    assert done.returncode == 0, done.stderr
    assert kept(tmp_path)[f"path:{plain}"] == kept(tmp_path)[f"path:{versioned}"] == ["LICENSE", "a.py"]
    assert r"caf\udce9.py" in done.stderr
    assert "3 files left out" in done.stderr


def test_a_build_leaves_odd_files_of_an_older_scrape_out(tmp_path: Path) -> None:
    """Names that are not UTF-8, and folders deeper than Python's stack, were once kept."""
    sources = [
        Source("path", str(write_files(tmp_path / name, dict(files)))) for name, files in SHOPS.items()
    ]
    [alone, *others] = sources
    for name, chosen in (("one", [alone]), ("all", [alone, *others])):
        records = collect_sources(chosen, tmp_path / name, ALLOWED, lambda _: None, lambda _: None)
        folder = tmp_path / name / records[0].folder
        surrogate_name(folder)
        deep = os.open(folder, os.O_RDONLY)
        for _ in range(1_500):
            os.mkdir("d", dir_fd=deep)
            below = os.open("d", os.O_RDONLY, dir_fd=deep)
            os.close(deep)
            deep = below
        os.close(deep)
        try:
            corpus = build_here(BuildOptions((tmp_path / name,)), tmp_path / f"corpus-{name}")
        finally:
            subprocess.run(["rm", "-r", str(folder / "d")], check=True)  # pytest's own removal recurses
        read = next(one for one in corpus.filters if one.name == "read")
        assert read.reasons["its name is not a valid path in UTF-8"] == 1


def packed(archive: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


FAKE_NPM = """#!{python}
import json, shutil, sys
name = sys.argv[-1]
if name != "free":
    shutil.copy({folder!r} + "/" + name + ".tgz", sys.argv[sys.argv.index("--pack-destination") + 1])
print(json.dumps([{{"name": name, "version": "1", "integrity": "sha512-x"}}]))
"""


def npm(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose `npm pack NAME` gives `tmp_path/NAME.tgz`."""
    fake = write_files(
        tmp_path / "bin", {"npm": FAKE_NPM.format(python=sys.executable, folder=str(tmp_path))}
    )
    (fake / "npm").chmod(0o755)
    return {"PATH": f"{fake}:{os.environ['PATH']}"}


def test_damaged_packages_do_not_stop_the_others(tmp_path: Path) -> None:
    nested = b"[" * 100_000
    packed(tmp_path / "nested.tgz", {"package/package.json": nested, "package/LICENSE": MIT.encode()})
    good = packed(tmp_path / "x.tgz", {f"package/{n}.js": os.urandom(9_000) for n in range(9)}).read_bytes()
    (tmp_path / "short.tgz").write_bytes(good[:20_000])
    (tmp_path / "damaged.tgz").write_bytes(good[:20] + b"\xff" * 40 + good[60:])
    (tmp_path / "text.tgz").write_bytes(b"no archive")
    folder = write_files(tmp_path / "folder", {"package.json": nested, "LICENSE": MIT})
    names = ("nested", "short", "damaged", "text")
    done = scrape(tmp_path, *(f"npm:{name}" for name in names), f"path:{folder}", **npm(tmp_path))
    assert "Traceback" not in done.stderr
    assert done.returncode == 1  # as docs/reference/exit-codes.md says: a source was not fetched
    assert set(kept(tmp_path)) == {"npm:nested", f"path:{folder}", f"path:{tmp_path}/good"}
    assert "3 not fetched" in done.stderr


def wheel(path: Path, files: dict[str, bytes]) -> Path:
    about = b"Metadata-Version: 2.1\nName: x\nVersion: 1\n"
    with zipfile.ZipFile(path, "w") as archive:
        base = {"METADATA": about, "WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n", "RECORD": b""}
        for name, content in {f"x-1.dist-info/{n}": c for n, c in base.items()}.items():
            archive.writestr(name, content)
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def patched(path: Path, name: bytes, local: tuple[int, bytes], central: tuple[int, bytes]) -> None:
    """Overwrite bytes of a member's two headers, at offsets from their signatures."""
    data = bytearray(path.read_bytes())
    for signature, start, (offset, value) in ((b"PK\3\4", 30, local), (b"PK\1\2", 46, central)):
        at = data.index(name, data.index(signature)) if signature == b"PK\3\4" else data.rindex(name)
        data[at - start + offset : at - start + offset + len(value)] = value
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("local", "central"),
    [
        ((6, b"\1\0"), (8, b"\1\0")),  # encrypted
        ((8, b"\x63\0"), (10, b"\x63\0")),  # compression 99
        ((8, b"\x08\0"), (10, b"\x08\0")),  # said to be deflated
    ],
)
def test_one_unreadable_member_of_a_wheel_is_left_out(
    tmp_path: Path, local: tuple[int, bytes], central: tuple[int, bytes]
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    files = {
        "x/good.py": b"a = 1\n",
        "x/odd.py": b"b = 2222\n",
        "x-1.dist-info/licenses/LICENSE": MIT.encode(),
    }
    path = wheel(wheels / "x-1-py3-none-any.whl", files)
    patched(path, b"x/odd.py", local, central)
    done = scrape(tmp_path, "pypi:x@1", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))
    assert "Traceback" not in done.stderr
    assert kept(tmp_path)["pypi:x@1"] == ["LICENSE", "x/good.py"]
    assert "x/odd.py" in done.stderr


def test_a_wheel_whose_sum_is_too_large_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    size = 4_900_000
    files = {f"x/a{n:04}.py": b"" for n in range(900)} | {"x-1.dist-info/LICENSE": MIT.encode()}
    path = wheel(wheels / "x-1-py3-none-any.whl", files)
    data = bytearray(path.read_bytes())
    at = 0
    while (at := data.find(b"PK\1\2", at)) >= 0:
        if b"x/a" in data[at + 46 : at + 49]:
            data[at + 24 : at + 28] = size.to_bytes(4, "little")
        at += 4
    path.write_bytes(data)
    done = scrape(tmp_path, "pypi:x@1", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))
    assert done.returncode == 1
    assert "pypi:x@1: its files have more than 4 GB together" in done.stderr


def test_an_npm_archive_that_inflates_without_end_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("package/a.bin")
    member.size = 60_000_000_000
    (tmp_path / "bomb.tgz").write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT)))
    header = tarfile.TarInfo("package/x")
    header.type, header.size = tarfile.XHDTYPE, 7_000_000_000
    (tmp_path / "header.tgz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + b"9" * 512))
    done = scrape(tmp_path, "npm:bomb", "npm:header", **npm(tmp_path))
    assert done.returncode == 1
    assert "npm:bomb: its files have more than 4 GB together" in done.stderr
    assert "npm:header" not in kept(tmp_path)


def nested_trees(folder: Path, blob: bytes, levels: int) -> Path:
    """Make a repository whose tree has ten times itself at each level: 10 ** `levels` files from one blob."""
    folder.mkdir()
    git(folder, "init", "--quiet")

    def written(kind: str, data: bytes) -> str:
        command = ["git", "-C", str(folder), "hash-object", "-w", "-t", kind, "--stdin"]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode().strip()

    entry, mode = written("blob", blob), b"100644"
    for _ in range(levels):
        entries = (b"%s %d.py\0%s" % (mode, n, bytes.fromhex(entry)) for n in range(10))
        entry, mode = written("tree", b"".join(entries)), b"40000"
    git(folder, "update-ref", "HEAD", _commit(folder, entry))
    return folder


def _commit(folder: Path, tree: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    command = ["git", "-C", str(folder), *identity, "commit-tree", tree, "-m", "all"]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode().strip()


@pytest.mark.parametrize(("blob", "levels"), [(b"1", 6), (b"0" * 4_900_000, 3)])
def test_a_small_repository_with_endless_files_is_refused_before_any_is_written(
    tmp_path: Path, blob: bytes, levels: int
) -> None:
    bomb = nested_trees(tmp_path / "bomb", blob, levels)
    watched = Watch(tmp_path / "out")
    done = scrape(tmp_path, f"path:{bomb}")
    assert watched.stop() < 50_000_000
    assert done.returncode == 1
    assert f"path:{bomb}: it" in done.stderr
    assert set(kept(tmp_path)) == {f"path:{tmp_path}/good"}


class Watch:
    """The most bytes that a folder had while it was watched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.most = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        while not self.done.wait(0.05):
            listed = subprocess.run(["du", "-sb", str(self.folder)], capture_output=True, text=True).stdout
            self.most = max(self.most, int(listed.split()[0]) if listed else 0)

    def stop(self) -> int:
        self.done.set()
        self.thread.join()
        return self.most


def test_a_hostile_tree_writes_nothing_outside_and_no_git_folder(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    git(folder, "init", "--quiet")

    def stored(kind: str, data: bytes) -> bytes:
        command = ["git", "-C", str(folder), "hash-object", "--literally", "-w", "-t", kind, "--stdin"]
        done = subprocess.run(command, input=data, capture_output=True, check=True)
        return bytes.fromhex(done.stdout.decode())

    file, licence = stored("blob", b"a = 1\n"), stored("blob", MIT.encode())
    config = stored("tree", b"100644 config\0" + file)
    up = stored("tree", b"100644 up.py\0" + file)
    tree = stored(
        "tree",
        b"40000 ..\0" + up + b"40000 .GIT\0" + config + b"40000 .git\0" + config + b"120000 L\0" + file
        + b"100644 LICENSE\0" + licence + b"100644 a\0" + file + b"40000 a\0" + up + b"100644 b.py\0" + file,
    )  # fmt: skip
    git(folder, "update-ref", "HEAD", _commit(folder, tree.hex()))
    done = scrape(tmp_path, f"path:{folder}")
    assert done.returncode == 0, done.stderr
    assert kept(tmp_path)[f"path:{folder}"] == ["LICENSE", "a", "b.py"]
    assert not list((tmp_path / "out").rglob("up.py"))


def seconds(call: Callable[..., object], *given: object) -> float:
    began = time.perf_counter()
    call(*given)
    return time.perf_counter() - began


def test_a_licence_cannot_take_long_to_judge(tmp_path: Path) -> None:
    deep = "(" * 20_000 + "MIT" + ")" * 20_000
    assert seconds(is_allowed, deep) < SLOW_S
    write_files(tmp_path / "deep", {"package.json": json.dumps({"license": deep})})
    assert licence_of(tmp_path / "deep").spdx == "unknown"
    phrase = "redistribution and use in source and binary forms, "
    assert seconds(licence_of_text, phrase * (200_000 // len(phrase))) < SLOW_S
    many = {f"vendor/LICENSE-apache{n}": "Apache License, Version 2.0" for n in range(300)}
    assert seconds(nested_licences, write_files(tmp_path / "many", dict(many))) < SLOW_S


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.vue", "\n" * 60_000 + "x"),
        ("a.vue", "<!-- é -->\n" + "<i></i>\n" * 60_000),
        ("a.html", "<script " * 25_000),
        ("a.html", "<!--" * 40_000),
        ("a.html", "<" * 300_000),
    ],
)
def test_no_file_takes_long_to_read_or_to_filter(path: str, text: str) -> None:
    code = Code(text, language_for(path=path), "MIT", ALLOWED)
    assert seconds(language_of, path, text) < SLOW_S
    assert seconds(visible_text, code) < SLOW_S
    assert seconds(line_lengths, code) < SLOW_S


def test_a_file_that_cannot_be_parsed_in_time_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse_times, "PARSE_CPU_S", 0.5)
    code = Code("<b>" * 100_000, language_for(path="a.html"), "MIT", ALLOWED)
    assert "to parse" in (filters.parse_errors(code) or "")


def test_holes_are_made_although_a_name_is_not_utf8(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "ours", {"a.py": "def f(x):\n    return x + 1\n"})
    surrogate_name(folder)
    assert [file.path for file in source_files(folder)] == ["a.py"]


def bare(folder: Path, top: Callable[[Callable[[str, bytes], bytes]], bytes]) -> Path:
    """Make a repository whose top tree `top` returns; it gets a function that stores an object."""
    folder.mkdir()
    git(folder, "init", "--quiet")

    def stored(kind: str, data: bytes) -> bytes:
        command = ["git", "-C", str(folder), "hash-object", "--literally", "-w", "-t", kind, "--stdin"]
        done = subprocess.run(command, input=data, capture_output=True, check=True)
        return bytes.fromhex(done.stdout.decode())

    tree = stored("tree", b"100644 LICENSE\0" + stored("blob", MIT.encode()) + top(stored))
    git(folder, "update-ref", "HEAD", _commit(folder, tree.hex()))
    return folder


@pytest.mark.parametrize(("characters", "files"), [(1_000_000, 1_000), (20_000_000, 1)])
def test_endless_names_in_a_repository_take_no_memory(tmp_path: Path, characters: int, files: int) -> None:
    def top(stored: Callable[[str, bytes], bytes]) -> bytes:
        blob = stored("blob", b"a = 1\n")
        inside = stored("tree", b"".join(b"100644 f%06d.py\0%s" % (n, blob) for n in range(files)))
        return b"40000 %s\0%s" % (b"n" * characters, inside)

    named = bare(tmp_path / "named", top)
    program = (
        "import atexit, runpy\n"
        "atexit.register(lambda: print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]))\n"
        "runpy.run_module('finetune.scrape', run_name='__main__', alter_sys=True)\n"
    )
    command = [sys.executable, "-c", program, "--out", str(tmp_path / "out"), f"path:{named}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert "a path of more than 4 kB" in done.stderr
    assert len(done.stderr) < 5_000
    assert int(done.stdout.split()[-1]) < 200_000  # kB


def test_a_long_name_is_cut_in_a_message(tmp_path: Path) -> None:
    archive = packed(
        tmp_path / "long.tgz", {f"package/{'n' * 900_000}": b"1", "package/LICENSE": MIT.encode()}
    )
    done = scrape(tmp_path, "npm:long", **npm(tmp_path))
    assert archive.exists()
    assert "its path is too long" in done.stderr
    assert len(done.stderr) < 5_000


@pytest.mark.parametrize("leaf", [b"160000", b"120000", None], ids=["submodules", "links", "empty folders"])
def test_a_tree_without_files_is_not_endless(tmp_path: Path, leaf: bytes | None) -> None:
    def top(stored: Callable[[str, bytes], bytes]) -> bytes:
        blob = stored("blob", b"a")
        inside = stored("tree", b"".join(b"%s s%d\0%s" % (leaf, n, blob) for n in range(10)) if leaf else b"")
        for _ in range(9):
            inside = stored("tree", b"".join(b"40000 d%d\0%s" % (n, inside) for n in range(10)))
        return b"40000 z\0" + inside

    bomb = bare(tmp_path / "bomb", top)
    done = scrape(tmp_path, f"path:{bomb}")
    assert f"path:{bomb}: it has more than" in done.stderr


def test_a_package_with_thousands_of_files_is_fetched(tmp_path: Path) -> None:
    packed(tmp_path / "large.tgz", {"package/LICENSE": MIT.encode(), "package/a.js": b"a\n"})
    environment = npm(tmp_path)
    fake = tmp_path / "bin/npm"
    listed = '"files": [{"path": "x" * 100, "size": 1}] * 20_000, "name": name'
    fake.write_text(fake.read_text().replace('"name": name', listed))
    done = scrape(tmp_path, "npm:large", **environment)
    assert kept(tmp_path)["npm:large"] == ["LICENSE", "a.js"], done.stderr


def test_a_tool_cannot_take_all_memory(tmp_path: Path) -> None:
    """Such as pip, which reads the metadata of a wheel at once."""
    with pytest.raises(DownloadFailed, match="MemoryError"):
        run_tool([sys.executable, "-c", "bytearray(6_000_000_000)"], tmp_path, os.environ)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_ended_scrape_leaves_no_tool_and_no_files(tmp_path: Path, number: signal.Signals) -> None:
    os.mkfifo(tmp_path / "started")
    script = f"#!/bin/sh\necho $$ > {tmp_path}/started\nexec sleep 600\n"
    fake = write_files(tmp_path / "bin", {"git": script})
    (fake / "git").chmod(0o755)
    command = [sys.executable, "-m", "finetune.scrape", "--out", str(tmp_path / "out"), "git:/srv/x.git"]
    environment = {**os.environ, "PATH": f"{fake}:{os.environ['PATH']}"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as scraping:
        tool = int((tmp_path / "started").read_text())
        scraping.send_signal(number)
        try:
            assert scraping.wait(30) == 128 + number
            assert not (tmp_path / "out/.fetching").exists()
            with pytest.raises(ProcessLookupError):
                os.kill(tool, 0)
        finally:
            with suppress(ProcessLookupError):
                os.kill(tool, signal.SIGKILL)


@pytest.mark.parametrize("ref", ["feature/login", "pkg@1.0.0", "@scope/pkg@1.0.0", "main"])
def test_every_ordinary_ref_can_be_written(tmp_path: Path, ref: str) -> None:
    shop = repository(tmp_path / "shop", {"LICENSE": MIT, "a.py": "a = 1\n"})
    git(shop, "tag", "--force", ref)
    (shop / "b.py").write_text("b = 1\n")
    git(shop, "add", ".")
    git(shop, "commit", "--quiet", "--message", "later")
    done = scrape(tmp_path, f"git:{shop}#{ref}")
    assert done.returncode == 0, done.stderr
    [key] = [key for key in kept(tmp_path) if key.startswith("git:")]
    assert kept(tmp_path)[key] == ["LICENSE", "a.py"] or ref == "main"
    assert parse_source(key).key == key
    assert parse_source(f"github:a/b#{ref}").ref == ref


@pytest.mark.parametrize(
    "variables", [{}, {"GIT_WORK_TREE": "/"}, {"GIT_DEFAULT_HASH": "sha256"}, {"GIT_TRACE": "/tmp/x"}]
)
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_settings_for_other_repositories_do_not_matter(
    tmp_path: Path, variables: dict[str, str], object_format: str
) -> None:
    shop = write_files(tmp_path / "shop", {"LICENSE": MIT, "a.py": "a = 1\n"})
    git(shop, "init", "--quiet", f"--object-format={object_format}")
    repository(shop, {})
    trace = tmp_path / "trace"
    done = scrape(
        tmp_path,
        f"path:{shop}",
        **{name: value.replace("/tmp/x", str(trace)) for name, value in variables.items()},
    )
    assert kept(tmp_path)[f"path:{shop}"] == ["LICENSE", "a.py"], done.stderr
    assert not trace.exists()


def test_copies_of_a_slow_file_and_many_slow_files_take_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse_times, "PARSE_CPU_S", 0.4)
    monkeypatch.setattr(parse_times, "SLOW_CPU_S", 0.05)
    monkeypatch.setattr(parse_times, "SOURCE_SLOW_CPU_S", 0.6)
    times = parse_times.ParseTimes()
    slow = "<template>\n" + "<a>\n" * 60_000 + "</template>\n"

    def cpu_s(text: str, source: str = "a") -> float:
        began = time.thread_time()
        code = Code(text, language_for(path="a.vue"), "MIT", ALLOWED, source, times)
        assert "to parse" in (line_lengths(code) or "")
        assert "to parse" in (parse_errors(code) or "")
        return time.thread_time() - began

    assert 0.3 < cpu_s(slow) < 0.75  # one time for both filters
    assert cpu_s(slow) < 0.2
    cpu_s(slow + "<!-- 1 -->")
    assert cpu_s(slow + "<!-- 2 -->") < 0.3
    assert cpu_s(slow + "<!-- 3 -->", "another source") > 0.3


def test_a_line_of_a_list_or_a_report_ends_only_where_it_ends(tmp_path: Path) -> None:
    words = " ".join(f"word{n}" for n in range(20))
    odd = "a\u2028b\x85c.py"
    folder = write_files(
        tmp_path / "ours", {"LICENSE": MIT, "good.py": "x = 1\n", "a\u2028b.py": words.replace(" ", "\n")}
    )
    write_files(tmp_path, {"list": f"path:{folder}\r\n# {odd} path:/x\n"})
    [source] = read_list(tmp_path / "list")
    collect_sources([source], tmp_path / "out", ALLOWED, lambda _: None, lambda _: None, own=True)
    problem = {"task_id": "odd\u2028\n\tname", "prompt": f"\u2028{words}"}
    write_files(tmp_path, {"problems.jsonl": json.dumps(problem, ensure_ascii=False) + "\n"})
    options = BuildOptions((tmp_path / "out",), problems=(tmp_path / "problems.jsonl",))
    [found] = build_here(options, tmp_path / "corpus").contaminated
    assert (found.document.rpartition(":")[2], found.problem) == ("a\u2028b.py", problem["task_id"])


ROW = {
    "id": "x",
    "text": "a = 1\n",
    "language": "python",
    "repository": "r",
    "prompt_chars": 0,
    "redactions": 0,
}


@pytest.mark.parametrize(
    "wrong",
    [{"text": None}, {"text": 7}, {"text": ["a"]}, {"text": b"\xff\xfe"}, {"id": None}, {"language": None},
     {"language": "a|b"}, {"language": "../../x"}, {"prompt_chars": None}, {"prompt_chars": "7"},
     {"prompt_chars": -5}, {"prompt_chars": 2**31 - 1}, {"redactions": None}, {"repository": 1.5}],
)  # fmt: skip
def test_a_replay_table_of_wrong_types_is_refused_with_its_row(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([ROW | wrong]), tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=f"row 1.*{next(iter(wrong))}"):
        list(read_records(RecordFile(tmp_path / "x.parquet", "replay")))
