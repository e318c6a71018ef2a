"""Build, step 9: fill-in-the-middle. A piece of a document is cut at two random places and reordered.

The parts come as prefix, suffix, middle: the one order that `acepilot.fim` renders. Cut at characters, not
at tokens, so that the model also learns to go on in the middle of a word (Bavarian et al., 2022).
"""

import hashlib
from random import Random

from acepilot.corpus import Sentinels
from finetune.corpus.packing.tokenizer import Encoded, Vocabulary


def chance(seed: int, name: str) -> Random:
    """Random numbers that depend on a document's name and nothing else."""
    return Random(hashlib.sha256(f"{seed}:{name}".encode()).digest())  # noqa: S311 - no secret is made of it


def infill(text: str, random: Random) -> tuple[str, str, str]:
    """Prefix, middle and suffix of `text`, the two cuts evenly spread."""
    first, second = sorted(random.randint(0, len(text)) for _ in range(2))
    return text[:first], text[first:second], text[second:]


def infill_ids(text: str, random: Random, vocabulary: Vocabulary, sentinels: Sentinels) -> list[int]:
    """The token ids of a piece, reordered, with its sentinels; the end token is the caller's."""
    prefix, middle, suffix = infill(text, random)
    return [
        sentinels.prefix[1],
        *vocabulary.encode(prefix).ids,
        sentinels.suffix[1],
        *vocabulary.encode(suffix).ids,
        sentinels.middle[1],
        *vocabulary.encode(middle).ids,
    ]


def cut(encoded: Encoded, text: str, most_tokens: int) -> list[str]:
    """`text` in pieces of at most `most_tokens`, each from one token's start to another's."""
    starts = [0, *(encoded.spans[at][0] for at in range(most_tokens, len(encoded.ids), most_tokens))]
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
