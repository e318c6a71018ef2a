"""Editors that only Debian unstable has: fetched with this machine's own apt, unpacked, never installed."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.fetched import kept, run

APT = """\
Dir::State "{folder}/state";
Dir::State::status "{folder}/state/status";
Dir::Cache "{folder}/cache";
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Acquire::Languages "none";
APT::Sandbox::User "root";
Debug::NoLocking "true";
"""
"""An apt of its own: it knows of nothing that is installed."""

LAUNCHER = """\
#!/bin/sh
{variables}
exec {loader} --library-path {libraries} {program} "$@"
"""
"""With unstable's own C library: this machine's may be too old."""


def unpacked(package: str, otherwise: str, *, alone: bool = False) -> Path:
    """The root of its files, and unless `alone` of all that it needs; `otherwise` is how else to get it."""
    mirror = debian_mirror()
    if mirror is None:
        pytest.skip(f"{package} is fetched from Debian unstable where apt has Debian's packages. {otherwise}")

    def fetch(folder: Path) -> None:
        for name in ("state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "state" / "status").touch()
        (folder / "sources.list").write_text(f"deb {mirror} sid main\n")
        (folder / "apt.conf").write_text(APT.format(folder=folder))
        apt = ["apt-get", f"--config-file={folder / 'apt.conf'}", "--yes"]
        run([*apt, "update", "--error-on=any"], folder)
        how = ["download"] if alone else ["install", "--download-only", "--no-install-recommends"]
        run([*apt, *how, package], folder)
        for archive in [*folder.glob("*.deb"), *folder.glob("cache/archives/*.deb")]:
            run(["dpkg-deb", "--extract", str(archive), str(folder / "root")], folder)
            archive.unlink()
        shutil.rmtree(folder / "state")

    return kept(f"debian-{package}", fetch) / "root"


def launcher(root: Path, program: str, **variables: str) -> Path:
    """A script that runs what was unpacked. In a variable's value, `{root}` stands for where it lies."""
    script = root / program.replace("/", "-")
    libraries = root / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
    (loader,) = libraries.glob("ld-linux-*.so.*")
    exports = [f"export {name}='{value.format(root=root)}'" for name, value in variables.items()]
    text = LAUNCHER.format(
        variables="\n".join(exports), loader=loader, libraries=libraries, program=root / program
    )
    script.write_text(text)
    script.chmod(0o755)
    return script


def debian_mirror() -> str | None:
    """Where this machine's apt has its Debian from."""
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    if release.get("ID") != "debian" or shutil.which("apt-get") is None:
        return None
    words = [
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]
    for line in subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines():
        mirror, *rest = line.split()
        if rest == [release.get("VERSION_CODENAME"), "main"]:
            return mirror
    return None
