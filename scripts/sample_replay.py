"""The same as `python -m finetune.corpus.sample_replay`."""

import sys

from finetune.corpus.sample_replay import main

if __name__ == "__main__":
    sys.exit(main())
