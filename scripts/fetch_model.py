"""The same as `python -m acepilot.models fetch`."""

import sys

from acepilot.models.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["fetch", *sys.argv[1:]]))
