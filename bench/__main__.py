"""Run one measurement: `python -m bench NAME [flags]`; each has --help. Run it on an idle machine."""

import argparse
import sys
from importlib import import_module

from acepilot.cli import program

MEASUREMENTS = {
    "typing": ("bench.typing.__main__", "developers who type in an editor, against peers"),
    "load": ("bench.load.__main__", "many clients on one server, against peers"),
    "torch": ("bench.torch", "the torch engine against transformers' generate"),
    "gpu": ("bench.gpu", "the torch engine on a CUDA card, in CodeGen's sizes"),
    "train": ("bench.train", "training against transformers' Trainer"),
    "sandbox": ("bench.sandbox", "the CPU time of programs in the sandbox, against the same outside"),
    "secrets": ("bench.secrets.__main__", "secrets that the corpus's rules find, and their false alarms"),
    "suffix": ("bench.suffix", "holes filled with and without suffix-aware completion"),
    "capacity": ("bench.capacity", "the number of cards that a number of developers needs"),
    "plot": ("bench.plot", "pictures of the figures in JSON files"),
    "profile": ("bench.profile_openvino", "where the time of one token goes in the openvino engine"),
    "hostile": ("bench.hardening.hostile", "for how long one hostile request stops the server"),
    "fuzz": ("bench.hardening.fuzz", "malformed messages to the server and the language server"),
    "reader-fuzz": ("bench.hardening.reader_fuzz", "damaged packages, repositories, weights and reports"),
    "soak": ("bench.hardening.soak", "twenty developers for ten minutes, while the server is killed once"),
}
"""Name -> module whose `main` measures, and what it measures."""


@program()
def main() -> int:
    """Return the exit code of the measurement."""
    names = "\n".join(f"  {name:10} {what}" for name, (_, what) in MEASUREMENTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"{__doc__}\n\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"),
    )
    parser.add_argument("name", choices=MEASUREMENTS, metavar="NAME")
    given, flags = parser.parse_known_args(sys.argv[1:2])
    sys.argv[:] = [f"python -m bench {given.name}", *sys.argv[2:], *flags]
    return import_module(MEASUREMENTS[given.name][0]).main()


if __name__ == "__main__":
    sys.exit(main())
