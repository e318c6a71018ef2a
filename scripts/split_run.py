"""The same as `python -m eval_humaneval.gate.laboratory.split`."""

import sys

from eval_humaneval.gate.laboratory.split import main

if __name__ == "__main__":
    sys.exit(main())
