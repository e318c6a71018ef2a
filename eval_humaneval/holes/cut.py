"""Step 4 of hole filling: choose the holes and cut them; `cut_holes` runs all steps from a folder to holes.

A file's holes depend only on the seed, the file's name and its text. A budget takes the first hole of every
file, then the second of every file, and so on: another file may use a part of the budget, but no hole moves.
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
from eval_humaneval.holes.candidates import Candidate, find_candidates
from eval_humaneval.holes.hole import Hole
from eval_humaneval.holes.regions import regions_of
from eval_humaneval.holes.score import extract_answer, stops_for
from eval_humaneval.holes.sources import SourceFile, source_files
from eval_humaneval.problems.problem import Problem

T = TypeVar("T")

HOLE_PREFIX_CHARS = 4_000
HOLE_SUFFIX_CHARS = 500
"""Limits of the text that a model sees around a hole, in whole lines. They are in characters so that every
tokenizer gets the same text: about 1,000 tokens with the starter's, within the editor's budget of 1,536."""

MAX_PER_FILE = 12
"""Holes of one kind in one block of a file. More would repeat what these measure about the file."""


@dataclass(frozen=True)
class _RankedCandidate:
    """The `rank`-th candidate of its kind and block in a file. `file_order` is random, and orders files."""

    file: SourceFile
    text: str
    candidate: Candidate
    rank: int
    file_order: float


def cut_holes(source: Path, *, per_language: int, seed: int) -> list[Hole]:
    """Return at most `per_language` holes of each language in a repository or a corpus's held-out part, with
    equal shares of kinds and Vue's blocks if there are enough candidates. Raise ConfigError for no hole."""
    files = sorted(source_files(source), key=lambda file: file.language.id)
    holes: list[Hole] = []
    for _, of_language in groupby(files, key=lambda file: file.language.id):
        ranked: list[_RankedCandidate] = []
        shuffled = sorted(of_language, key=lambda file: _random(seed, file.name).random())
        ordered = _interleave(shuffled, lambda file: file.repository)
        for file, text in islice(_usable(ordered), per_language):
            ranked += _rank(file, text, seed)
        holes += [_hole(one.file, one.text, one.candidate) for one in _choose(ranked, per_language)]
    if not holes:
        raise ConfigError(
            f"No hole can be cut in {source}: it has no code in a language with a grammar here."
        )
    return holes


def _random(*words: object) -> Random:
    """Return a random generator that depends on `words` alone."""
    return Random(hashlib.sha256("\0".join(map(str, words)).encode()).digest())  # noqa: S311 - no secret


def _interleave(items: list[T], repository_of: Callable[[T], str]) -> list[T]:
    """Put the first item of each repository first, then the second of each, and so on."""
    count: Counter[str] = Counter()
    rounds: list[int] = []
    for item in items:
        rounds.append(count[repository_of(item)])
        count[repository_of(item)] += 1
    return [items[at] for at in sorted(range(len(items)), key=rounds.__getitem__)]


def _usable(files: Iterable[SourceFile]) -> Iterator[tuple[SourceFile, str]]:
    """Yield the files to use, with their texts; of files with equal texts only the first."""
    seen: set[str] = set()
    for file in files:
        text = file.load()
        if text is not None and text not in seen:
            seen.add(text)
            yield file, text


def _rank(file: SourceFile, text: str, seed: int) -> Iterator[_RankedCandidate]:
    """Yield a file's candidates in random order. Those of one kind do not overlap. Candidates of two kinds
    may: each is asked separately, and all of a file count as one cluster."""
    strata: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in find_candidates(text, regions_of(text, file.language)):
        strata[candidate.kind, candidate.block].append(candidate)
    for stratum, candidates in strata.items():
        random = _random(seed, file.name, *stratum)
        file_order = random.random()
        random.shuffle(candidates)
        for rank, candidate in enumerate(islice(_separate(file, text, candidates), MAX_PER_FILE)):
            yield _RankedCandidate(file, text, candidate, rank, file_order)


def _separate(file: SourceFile, text: str, candidates: list[Candidate]) -> Iterator[Candidate]:
    """Yield candidates that do not overlap, if truncation restores the truth when the file's text follows."""
    taken = bytearray(len(text))
    for candidate in candidates:
        if taken.find(1, candidate.start, candidate.end) >= 0:
            continue
        hole = _hole(file, text, candidate)
        if extract_answer(hole, hole.truth + hole.problem.suffix) == hole.truth:
            taken[candidate.start : candidate.end] = b"\1" * (candidate.end - candidate.start)
            yield candidate


def _choose(ranked: list[_RankedCandidate], count: int) -> list[_RankedCandidate]:
    """Choose `count`: an equal share of each kind in each block, or all of them where there are fewer."""
    strata: dict[tuple[str, str], list[_RankedCandidate]] = defaultdict(list)
    for one in sorted(ranked, key=lambda one: (one.rank, one.file_order)):
        strata[one.candidate.kind, one.candidate.block].append(one)
    chosen: list[_RankedCandidate] = []
    for done, stratum in enumerate(sorted(strata.values(), key=len)):
        share = (count - len(chosen)) // (len(strata) - done)
        chosen += _interleave(stratum, lambda one: one.file.repository)[:share]
    return sorted(chosen, key=lambda one: (one.file.name, one.candidate.start))


def _hole(file: SourceFile, text: str, candidate: Candidate) -> Hole:
    start, end = candidate.start, candidate.end
    before, truth, after = text[:start], text[start:end], text[end:]
    prompt, suffix = before[-HOLE_PREFIX_CHARS:], after[:HOLE_SUFFIX_CHARS]
    if len(prompt) < len(before):
        prompt = prompt[prompt.find("\n") + 1 :]
    if len(suffix) < len(after):
        suffix = suffix[: suffix.rfind("\n") + 1] or suffix
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    problem = Problem(
        id=f"{file.name}:{line}:{column}:{candidate.kind}",
        cluster=file.name,
        language=file.language.id,
        prompt=prompt,
        suffix=suffix,
        stops=stops_for(candidate.kind, suffix, candidate.language),
        tail="",
        canonical=truth,
    )
    return Hole(
        problem,
        kind=candidate.kind,
        block=candidate.block,
        inner=candidate.language.id,
        inner_start=candidate.inner_start,
        inner_end=candidate.inner_end - end,
        above=before[: len(before) - len(prompt)],
        below=after[len(suffix) :],
    )
