"""The same as `python -m eval_humaneval.gate.laboratory.damage`."""

import sys

from eval_humaneval.gate.laboratory.damage import main

if __name__ == "__main__":
    sys.exit(main())
