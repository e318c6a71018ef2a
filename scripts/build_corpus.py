"""The same as `python -m finetune.corpus`."""

import sys

from finetune.corpus.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
