"""Build, step 6: find near-duplicates across all repositories with datatrove's MinHash.

The settings are BigCode's: 5-grams of words, 256 permutations, similarity 0.7. For these, datasketch's error
integral is smallest with 25 bands of 10 rows (250 of the 256 permutations). One document of each cluster
stays. Which one depends on the input alone, because the number of tasks does not depend on the machine.
"""

import re
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupSignature,
)
from datatrove.utils.hashing import HashConfig
from datatrove.utils.text import TextNormConfig
from datatrove.utils.word_tokenizers import WordTokenizer

from finetune.corpus.executors import Pipeline, Runner
from finetune.corpus.reading.readers import Documents

BANDS, ROWS, NGRAM_WORDS = 25, 10, 5

_CONFIG = MinhashConfig(
    n_grams=NGRAM_WORDS,
    num_buckets=BANDS,
    hashes_per_bucket=ROWS,
    # No normalization: in code, punctuation, digits and case matter. `_CodeWords` finds the words.
    norm_config=TextNormConfig(
        lowercase=False,
        norm_whitespace=False,
        remove_punctuation=False,
        norm_unicode_diacritics=False,
        norm_numbers=False,
    ),
    # Not xxhash: datatrove 0.10 passes text to it, and xxhash 4 takes only bytes.
    hash_config=HashConfig(precision=64, hash_fc="sha1"),
)


class _CodeWords(WordTokenizer):
    """Find identifiers and numbers, as BigCode does; datatrove's splitters are for prose and need spaCy."""

    def word_tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", text)

    def sent_tokenize(self, text: str) -> list[str]:
        return text.splitlines()

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\w+", text)]


class _QuietCluster(MinhashDedupCluster):
    """Hide the progress bar that datatrove writes even without a terminal."""

    def run(self, data: Documents = None, _: int = 0, world_size: int = 1) -> None:
        with redirect_stderr(StringIO()):
            super().run(data, _, world_size)


def find_duplicates(runner: Runner, reader: Pipeline, work: Path, tasks: int) -> Path:
    """Return the folder that lists, for each task, the documents of `reader` to remove."""
    signatures, buckets, removals = work / "signatures", work / "buckets", work / "removals"
    # `language` also takes a tokenizer object: datatrove's loader returns it unchanged.
    sign = MinhashDedupSignature(str(signatures), config=_CONFIG, language=_CodeWords())  # pyright: ignore[reportArgumentType]
    runner.run("signatures", [*reader, sign], tasks)
    runner.run("buckets", [MinhashDedupBuckets(str(signatures), str(buckets), config=_CONFIG)], BANDS)
    runner.run("clusters", [_QuietCluster(str(buckets), str(removals), config=_CONFIG)], 1)
    return removals
