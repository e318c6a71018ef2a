"""Build, step 9: fill-in-the-middle. A piece of a document is cut at two random characters and reordered.

The order is prefix, suffix, middle, as `acepilot.fim` renders prompts. The cuts are at characters, not at
tokens, so that the model also learns to continue in the middle of a word (Bavarian et al., 2022).
"""

import hashlib
from random import Random

from tokenizers import Encoding

from acepilot.corpus import Sentinels
from finetune.corpus.packing.tokenizer import Vocabulary


def random_for(seed: int, name: str) -> Random:
    """Return a random generator that depends on `seed` and a document's name alone."""
    return Random(hashlib.sha256(f"{seed}:{name}".encode()).digest())  # noqa: S311 - not used for secrets


def infill(text: str, random: Random) -> tuple[str, str, str]:
    """Return prefix, middle and suffix of `text`, cut at two uniformly random characters."""
    first, second = sorted(random.randint(0, len(text)) for _ in range(2))
    return text[:first], text[first:second], text[second:]


def infill_ids(text: str, random: Random, vocabulary: Vocabulary, sentinels: Sentinels) -> list[int]:
    """Return the ids of a reordered piece with its sentinels, without an end token."""
    prefix, middle, suffix = infill(text, random)
    parts = (sentinels.prefix, prefix), (sentinels.suffix, suffix), (sentinels.middle, middle)
    return [token for (_, mark), part in parts for token in (mark, *vocabulary.encode(part).ids)]


def cut(encoded: Encoding, text: str, max_tokens: int) -> list[str]:
    """Cut `text` into pieces of at most `max_tokens` tokens, at the starts of tokens."""
    starts = [0, *(encoded.offsets[at][0] for at in range(max_tokens, len(encoded.ids), max_tokens))]
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
