"""The same as `python -m bench capacity`, from any folder."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.capacity import main

if __name__ == "__main__":
    sys.exit(main())
