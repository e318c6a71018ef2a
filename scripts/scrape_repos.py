"""The same as `python -m finetune.scrape`."""

import sys

from finetune.scrape.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
