"""Build: which side of the split something is on, by the hash of its name: it stays there for ever."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from acepilot.corpus import Split


def place(name: str, seed: int) -> float:
    """Where `name` falls in [0, 1), evenly and always the same."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def side_of(name: str, heldout_share: float, seed: int) -> Split:
    return "heldout" if place(name, seed) < heldout_share else "train"


def split_files(folder: Path, heldout_share: float, seed: int) -> dict[str, Split]:
    """A side for each file below `folder`, by its path: for a repository that is alone."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return split_repositories([path.relative_to(folder).as_posix() for path in files], heldout_share, seed)


def split_repositories(ids: Sequence[str], heldout_share: float, seed: int) -> dict[str, Split]:
    """A side for each repository. Of two or more, one is always held out: the one that is nearest to it."""
    names = sorted(set(ids))
    sides: dict[str, Split] = {name: side_of(name, heldout_share, seed) for name in names}
    if heldout_share > 0 and len(names) > 1:
        if "heldout" not in sides.values():
            sides[min(names, key=lambda name: place(name, seed))] = "heldout"
        if "train" not in sides.values():
            sides[max(names, key=lambda name: place(name, seed))] = "train"
    return sides
