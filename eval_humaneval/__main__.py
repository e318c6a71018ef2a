import sys

from eval_humaneval.cli import main

if __name__ == "__main__":  # spawned workers import this file again
    sys.exit(main())
