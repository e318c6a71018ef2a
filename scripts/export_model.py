"""The same as `python -m acepilot.models convert`."""

import sys

from finetune.convert.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
