"""The same as `python -m eval_humaneval.gate.laboratory.simulate`."""

import sys

from eval_humaneval.gate.laboratory.simulate import main

if __name__ == "__main__":
    sys.exit(main())
