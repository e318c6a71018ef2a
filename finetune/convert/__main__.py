"""Writes a model in another form, checked against itself: docs/export.md.

python -m acepilot.models convert models/codegen-2B --to gptj --out out/codegen-gptj      CodeGen, for vLLM
python -m acepilot.models convert runs/ours/model --to gguf --type Q8_0 --out out/gguf    llama.cpp, Ollama
python -m acepilot.models convert runs/ours/model --to openvino --weights int8 --out out/ours-int8

The folder has a manifest and a card, and `python -m server --model FOLDER` serves it.
"""

import argparse
import sys
from pathlib import Path

from acepilot.cli import program
from acepilot.errors import ConfigError
from acepilot.models.resolve import resolve


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a name in the registry, a folder, or a .gguf file")
    parser.add_argument("--to", required=True, choices=("gptj", "gguf", "openvino"))
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--type", choices=("F16", "Q8_0"), help="with --to gguf (default: Q8_0)")
    parser.add_argument("--weights", choices=("int8", "int4"), help="with --to openvino (default: int8)")
    return parser


@program()
def main() -> int:
    """Exit code 1 when it was refused or failed its check, 2 when the command line is wrong."""
    given = _parser().parse_args()
    if (given.type and given.to != "gguf") or (given.weights and given.to != "openvino"):
        raise ConfigError("--type goes with --to gguf, and --weights with --to openvino.")
    model = resolve(given.model)
    from finetune.convert.forms import convert_model  # slow to import: not for --help

    done = convert_model(
        model, given.to, given.out, gguf_type=given.type or "Q8_0", bits=given.weights or "int8"
    )
    print(done.figures.told())
    size_mb = sum(file.size_bytes for file in done.manifest.files.values()) / 1e6
    print(f"{done.manifest.id} ({done.manifest.dtype}, {size_mb:.0f} MB) is in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
