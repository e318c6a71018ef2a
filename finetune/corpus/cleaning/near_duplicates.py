"""Build, step 7: near-duplicates across all repositories, by datatrove's MinHash in its four stages.

The numbers are BigCode's: 5-grams of words, 256 permutations, similarity 0.7. For those, 25 bands of 10 rows
(250 of the 256) have the least error, by the integral that datasketch minimises. Of each cluster one document
stays; which one depends on the input alone, since the number of tasks does not depend on the machine.
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
    # In code, punctuation, digits and case tell documents apart; the words are split off by `_CodeWords`.
    norm_config=TextNormConfig(
        lowercase=False,
        norm_whitespace=False,
        remove_punctuation=False,
        norm_unicode_diacritics=False,
        norm_numbers=False,
    ),
    # Not xxhash: its version 4 takes bytes only, and datatrove 0.10 gives it text.
    hash_config=HashConfig(precision=64, hash_fc="sha1"),
)


class _CodeWords(WordTokenizer):
    """Identifiers and numbers, as BigCode splits; datatrove's word splitters are for prose and need spaCy."""

    def word_tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", text)

    def sent_tokenize(self, text: str) -> list[str]:
        return text.splitlines()

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\w+", text)]


class _QuietCluster(MinhashDedupCluster):
    """datatrove draws a bar of its own here, whatever the terminal."""

    def run(self, data: Documents = None, _: int = 0, world_size: int = 1) -> None:
        with redirect_stderr(StringIO()):
            super().run(data, _, world_size)


def find_duplicates(runner: Runner, reader: Pipeline, work: Path, tasks: int) -> Path:
    """The folder that names, task by task, the documents of `reader` to be removed."""
    signatures, buckets, removals = work / "signatures", work / "buckets", work / "removals"
    # A tokenizer goes where a language is named: datatrove's loader lets it through.
    sign = MinhashDedupSignature(str(signatures), config=_CONFIG, language=_CodeWords())  # pyright: ignore[reportArgumentType]
    runner.run("signatures", [*reader, sign], tasks)
    runner.run("buckets", [MinhashDedupBuckets(str(signatures), str(buckets), config=_CONFIG)], BANDS)
    runner.run("clusters", [_QuietCluster(str(buckets), str(removals), config=_CONFIG)], 1)
    return removals
