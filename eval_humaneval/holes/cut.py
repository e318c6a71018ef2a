"""Hole-filling, step 4: which holes are cut, and how. `cut` is the whole way from a folder to problems.

What a file offers depends on the seed, its name and its text alone. A budget takes the first of every file,
then the second of every file, and so on: another file can take places in the budget and never moves a hole.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from random import Random
from typing import TypeVar

from acepilot.errors import ConfigError
from eval_humaneval.holes.ends import answer_of, stops_of
from eval_humaneval.holes.hole import Hole
from eval_humaneval.holes.regions import regions_of
from eval_humaneval.holes.sources import SourceFile, source_files
from eval_humaneval.holes.spots import Spot, spots_of
from eval_humaneval.problems.problem import Problem

T = TypeVar("T")

HOLE_PREFIX_CHARS = 4_000
HOLE_SUFFIX_CHARS = 500
"""What a model may see, in whole lines; in characters, so that it is the same for every tokenizer. With the
starter's, about 1,000 tokens, rarely 2,000: within the editor's budget of 1,536, and a context of 2,048."""

PER_FILE = 12
"""Of one kind in one block: more would only say the same again about one file."""


@dataclass(frozen=True)
class _Offer:
    """A hole that a file has to offer as its `turn`-th of that kind and block; `lot` orders files."""

    file: SourceFile
    text: str
    spot: Spot
    turn: int
    lot: float


def cut(source: Path, *, per_language: int, seed: int) -> list[Hole]:
    """At most `per_language` holes of each language of a repository's folder or a corpus's held-out part.

    Kinds, and in Vue the blocks, get equal shares while there are enough of each. Raises ConfigError where
    there is nothing to cut.
    """
    files = sorted(source_files(source), key=lambda file: file.language.id)
    holes: list[Hole] = []
    for _, of_language in groupby(files, key=lambda file: file.language.id):
        offers: list[_Offer] = []
        for file, text in islice(_sound(_order(of_language, seed)), per_language):
            offers += _offers(file, text, seed)
        holes += [_hole(offer.file, offer.text, offer.spot) for offer in _chosen(offers, per_language)]
    if not holes:
        raise ConfigError(f"No hole can be cut in {source}: it has no code in a language that is known here.")
    return holes


def _lot(*words: object) -> Random:
    """Random numbers that depend on `words` and nothing else."""
    return Random(hashlib.sha256("\0".join(map(str, words)).encode()).digest())  # noqa: S311 - no secret


def _order(files: Iterable[SourceFile], seed: int) -> list[SourceFile]:
    drawn = sorted(files, key=lambda file: _lot(seed, file.name).random())
    return _spread(drawn, lambda file: file.repository)


def _spread(items: list[T], repository_of: Callable[[T], str]) -> list[T]:
    """In the order given, but one of each repository first, then another of each."""
    count: Counter[str] = Counter()
    turns: list[int] = []
    for item in items:
        turns.append(count[repository_of(item)])
        count[repository_of(item)] += 1
    return [items[at] for at in sorted(range(len(items)), key=turns.__getitem__)]


def _sound(files: Iterable[SourceFile]) -> Iterator[tuple[SourceFile, str]]:
    """The files that are to be used, with their texts; of equal texts one."""
    seen: set[str] = set()
    for file in files:
        text = file.load()
        if text is not None and text not in seen:
            seen.add(text)
            yield file, text


def _offers(file: SourceFile, text: str, seed: int) -> Iterator[_Offer]:
    """What one file has to offer, drawn. Holes of one kind never overlap; those of two kinds may, for each is
    asked alone, and all of one file count as one cluster."""
    strata: dict[tuple[str, str], list[Spot]] = defaultdict(list)
    for spot in spots_of(text, regions_of(text, file.language)):
        strata[spot.kind, spot.block].append(spot)
    for stratum, spots in strata.items():
        chance = _lot(seed, file.name, *stratum)
        lot = chance.random()
        chance.shuffle(spots)
        for turn, spot in enumerate(islice(_apart(file, text, spots), PER_FILE)):
            yield _Offer(file, text, spot, turn, lot)


def _apart(file: SourceFile, text: str, spots: list[Spot]) -> Iterator[Spot]:
    """Spots that do not overlap, and whose truth is what is read of an answer that writes on after it."""
    taken = bytearray(len(text))
    for spot in spots:
        if taken.find(1, spot.start, spot.end) >= 0:
            continue
        hole = _hole(file, text, spot)
        if answer_of(hole, hole.truth + hole.problem.suffix) == hole.truth:
            taken[spot.start : spot.end] = b"\1" * (spot.end - spot.start)
            yield spot


def _chosen(offers: list[_Offer], count: int) -> list[_Offer]:
    """`count` of them: of each kind in each block an equal share, or all where there are fewer."""
    strata: dict[tuple[str, str], list[_Offer]] = defaultdict(list)
    for offer in sorted(offers, key=lambda offer: (offer.turn, offer.lot)):
        strata[offer.spot.kind, offer.spot.block].append(offer)
    chosen: list[_Offer] = []
    for done, stratum in enumerate(sorted(strata.values(), key=len)):
        share = (count - len(chosen)) // (len(strata) - done)
        chosen += _spread(stratum, lambda offer: offer.file.repository)[:share]
    return sorted(chosen, key=lambda offer: (offer.file.name, offer.spot.start))


def _hole(file: SourceFile, text: str, spot: Spot) -> Hole:
    before, truth, after = text[: spot.start], text[spot.start : spot.end], text[spot.end :]
    prompt, suffix = before[-HOLE_PREFIX_CHARS:], after[:HOLE_SUFFIX_CHARS]
    if len(prompt) < len(before):
        prompt = prompt[prompt.find("\n") + 1 :]
    if len(suffix) < len(after):
        suffix = suffix[: suffix.rfind("\n") + 1] or suffix
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    problem = Problem(
        id=f"{file.name}:{line}:{column}:{spot.kind}",
        cluster=file.name,
        language=file.language.id,
        prompt=prompt,
        suffix=suffix,
        stops=stops_of(spot.kind, suffix, spot.language),
        tail="",
        canonical=truth,
    )
    return Hole(
        problem,
        kind=spot.kind,
        block=spot.block,
        inner=spot.language.id,
        inner_start=spot.inner_start,
        inner_end=spot.inner_end - spot.end,
        above=before[: len(before) - len(prompt)],
        below=after[len(suffix) :],
    )
