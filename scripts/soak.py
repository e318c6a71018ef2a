"""The same as `python -m bench soak`, from any folder."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.hardening.soak import main

if __name__ == "__main__":
    sys.exit(main())
