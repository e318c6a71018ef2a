"""Full disks. /dev/full refuses every write, as a full disk does, whichever library writes."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from acepilot.disk import check_room, explain_full_disk, is_full_disk
from acepilot.errors import ConfigError, NotEnoughDisk

SAVED_ON_A_SMALL_DISK = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from acepilot.disk import explain_full_disk
from acepilot.errors import NotEnoughDisk
disk = Path(sys.argv[1])
try:
    with explain_full_disk(disk, "free some."):
        save_file({"a": torch.zeros(500_000)}, disk / "model.safetensors")
except NotEnoughDisk as error:
    print(error.message)
"""
TENSORS = {"a": torch.zeros(100_000)}

WRITERS: dict[str, Callable[[Path], object]] = {
    "python": lambda path: path.write_bytes(bytes(100_000)),
    "copy": lambda path: shutil.copyfile(sys.executable, path),
    "torch": lambda path: torch.save(TENSORS, path),
    "older torch": lambda path: torch.save(TENSORS, path, _use_new_zipfile_serialization=False),
    "pyarrow": lambda path: parquet.write_table(pa.table({"a": list(range(10_000))}), path),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_reported_and_the_unfinished_folder_removed(tmp_path: Path, writer: str) -> None:
    unfinished = tmp_path / "part"
    unfinished.mkdir()
    (unfinished / "file").symlink_to("/dev/full")
    explained = explain_full_disk(tmp_path, "Free some and start again.", unfinished=unfinished)
    with pytest.raises(NotEnoughDisk) as caught, explained:
        WRITERS[writer](unfinished / "file")
    assert caught.value.message.startswith(f"The disk of {tmp_path} is full (")
    assert caught.value.message.endswith("B free): Free some and start again.")
    assert caught.value.__cause__ is not None
    assert not unfinished.exists()


def test_safetensors_on_a_small_disk(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path}"
    unshared = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]
    if subprocess.run([*unshared, mount], capture_output=True).returncode != 0:
        pytest.skip("this machine does not allow mounting a small disk")
    save = f'{sys.executable} -c "$PROGRAM" {tmp_path}'
    environment = {
        **os.environ,
        "PROGRAM": SAVED_ON_A_SMALL_DISK,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [*unshared, f"{mount} && {save} && ls -A {tmp_path}"],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    assert done.stdout == f"The disk of {tmp_path} is full (1.0 MB free): free some.\n"


@pytest.mark.parametrize(
    "error", [ConfigError("No space left, says the user"), ValueError("another"), KeyError()]
)
def test_other_errors_pass_and_leave_the_folder(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, explain_full_disk(tmp_path, "", unfinished=tmp_path):
        raise error
    assert caught.value is error
    assert tmp_path.exists()


def test_an_exceeded_quota_is_a_full_disk() -> None:
    assert is_full_disk(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert is_full_disk(RuntimeError("write failed: Disk quota exceeded (os error 122)"))
    assert not is_full_disk(OSError(errno.EACCES, "Permission denied"))


def test_room_is_measured_on_the_disk_that_a_folder_would_be_on(tmp_path: Path) -> None:
    check_room(tmp_path / "not" / "there", 1, "It", "free some.")
    with pytest.raises(NotEnoughDisk) as caught:
        check_room(Path("/proc/not/there"), 14_100_000_000, "It", "free some.")  # /proc never has room
    assert (
        caught.value.message
        == "It needs 14.1 GB free on the disk of /proc/not/there, which has 0 bytes: free some."
    )
