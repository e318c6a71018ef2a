"""Convert a model into another form, and check the result against the source. See docs/convert.md.

python -m finetune.convert models/codegen-2B --to gptj --out out/codegen-gptj      CodeGen, for vLLM
python -m finetune.convert runs/ours/model --to gguf --type Q8_0 --out out/gguf    llama.cpp, Ollama
python -m finetune.convert runs/ours/model --to openvino --weights int8 --out out/ours-int8

The new folder has a manifest and a model card. `python -m server --model FOLDER` serves it.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from acepilot.cli import program
from acepilot.errors import ConfigError
from acepilot.models.resolve import resolve


@program()
def main() -> int:
    """Return 1 when the model cannot be read or fails its check, 2 for a wrong command line or form."""
    parser = ArgumentParser(
        prog="python -m finetune.convert", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", help="a name in the registry, current, a folder, a .gguf file or a hub id (OWNER/NAME)")
    add("--to", required=True, choices=("gptj", "gguf", "openvino"), help="the form to write")
    add("--out", required=True, type=Path, metavar="FOLDER", help="the folder to write")
    add("--type", choices=("F16", "Q8_0"), help="with --to gguf (default: Q8_0)")
    add("--weights", choices=("int8", "int4"), help="with --to openvino (default: int8)")
    given = parser.parse_args()
    if (given.type and given.to != "gguf") or (given.weights and given.to != "openvino"):
        raise ConfigError("--type goes with --to gguf, and --weights with --to openvino.")
    model = resolve(given.model)
    from finetune.convert.forms import convert_model  # imports torch, which --help does without

    done = convert_model(model, given.to, given.out, given.type or "Q8_0", given.weights or "int8")
    print(done.comparison.summary())
    size_mb = sum(file.size_bytes for file in done.manifest.files.values()) / 1e6
    print(f"{done.manifest.id} ({done.manifest.dtype}, {size_mb:.0f} MB) is in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
