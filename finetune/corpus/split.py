"""Build: assign repositories, files and records to train or heldout, by the hash of their names.

The same name and seed always give the same split, however the corpus grows.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from acepilot.corpus import Split
from finetune.scrape.source_files import files_below


def hash_fraction(name: str, seed: int) -> float:
    """Return a number in [0, 1) that depends on `name` and `seed` alone; names are spread evenly."""
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()  # of any file name
    return int.from_bytes(digest[:8], "big") / 2**64


def split_of(name: str, heldout_share: float, seed: int) -> Split:
    return "heldout" if hash_fraction(name, seed) < heldout_share else "train"


def split_files(folder: Path, heldout_share: float, seed: int) -> dict[str, Split]:
    """Split the files below `folder` by their paths: for a corpus of one repository."""
    return split_names(files_below(folder), heldout_share, seed)


def split_names(ids: Iterable[str], heldout_share: float, seed: int) -> dict[str, Split]:
    """Split ids or paths. Of two or more, at least one is held out and one is for training."""
    names = sorted(set(ids))
    splits: dict[str, Split] = {name: split_of(name, heldout_share, seed) for name in names}
    if heldout_share > 0 and len(names) > 1:
        if "heldout" not in splits.values():
            splits[min(names, key=lambda name: hash_fraction(name, seed))] = "heldout"
        if "train" not in splits.values():
            splits[max(names, key=lambda name: hash_fraction(name, seed))] = "train"
    return splits
