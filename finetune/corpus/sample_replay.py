"""Samples replay data from the base model itself, against forgetting: JSONL for `build_corpus.py --replay`.

    python -m server --model BASE &
    python -m finetune.corpus.sample_replay --out data/replay.jsonl --languages python go java --count 200
    python -m finetune.corpus data/vue --out data/corpus --replay data/replay.jsonl --replay-share 0.3

Give the server the model that is to be tuned. A killed run goes on where it stopped.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from acepilot.cli import program, text_console
from acepilot.languages import LANGUAGES
from acepilot.progress import count_progress
from finetune.corpus.self_samples import SampleOptions, sample


@program(resumes=True)
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="JSONL of {text, language, seed}")
    parser.add_argument("--languages", nargs="+", required=True, choices=sorted(LANGUAGES), metavar="ID")
    parser.add_argument("--count", type=int, default=100, help="samples of each language (100)")
    parser.add_argument("--max-tokens", type=int, default=512, help="of each sample (512)")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--parallel", type=int, default=8, help="requests at a time (8)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--url", default="http://127.0.0.1:8010", help="the server; its token: ACEPILOT_TOKEN"
    )
    given = parser.parse_args()
    options = SampleOptions(given.count, given.max_tokens, given.temperature, given.parallel, given.seed)
    languages = [LANGUAGES[name] for name in given.languages]
    console = text_console(stderr=True)
    with count_progress("sampling", given.count * len(languages), console) as on_progress:
        work = sample(given.url, os.environ.get("ACEPILOT_TOKEN"), languages, given.out, options, on_progress)
        done = asyncio.run(work)
    console.print(f"{done} samples in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
