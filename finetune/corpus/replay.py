"""Build, step 8: mix replay into the documents of a split.

Replay is code of other languages, or text sampled from the base model. The steps write it to a table of its
own, because how much of it is wanted is known only when all documents are counted.
"""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from finetune.corpus.split import hash_fraction
from finetune.corpus.tables import DOCUMENT, read_rows, write_rows


def mix_replay(replay: Path, documents: Path, share: float, seed: int) -> None:
    """Add `replay.parquet` to a split's documents, up to `share` of all characters, or all replay there is.

    `share` is in [0, 1). Languages get equal parts, since a model forgets what it sees nothing of: the next
    text is always of the language with the fewest characters so far. A language's texts come in the order of
    their hashes, those longer than an equal part last.
    """
    own = sum(
        len(row["text"]) for path in sorted(documents.glob("*.parquet")) for row in read_rows(path, ["text"])
    )
    files = sorted(replay.glob("*.parquet"))
    texts = [
        _Text(row["language"], row["id"], len(row["text"]))
        for path in files
        for row in read_rows(path, ["id", "text", "language"])
    ]
    chosen = _choose(texts, share / (1 - share) * own, seed)
    wanted = (row for path in files for row in read_rows(path) if row["id"] in chosen)
    write_rows(documents / "replay.parquet", DOCUMENT, wanted)


class _Text(NamedTuple):
    language: str
    id: str
    characters: int


def _choose(texts: list[_Text], budget: float, seed: int) -> set[str]:
    """Return the ids of texts with `budget` characters in all, in equal parts of each language."""
    waiting: dict[str, list[_Text]] = defaultdict(list)
    for text in texts:
        waiting[text.language].append(text)
    equal_part = budget / max(1, len(waiting))
    for queue in waiting.values():  # sorted so that pop() gives the next text
        queue.sort(
            key=lambda text: (text.characters > equal_part, hash_fraction(text.id, seed)), reverse=True
        )
    taken = dict.fromkeys(sorted(waiting), 0)
    chosen: set[str] = set()
    while taken and budget > 0:
        language = min(taken, key=taken.__getitem__)
        text = waiting[language].pop()
        chosen.add(text.id)
        budget -= text.characters
        taken[language] += text.characters
        if not waiting[language]:
            del taken[language]
    return chosen
