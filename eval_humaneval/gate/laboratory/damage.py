"""Spoils a model in some languages only, to see the gate stop it: noise on the embeddings of their tokens.

    python -m eval_humaneval.gate.laboratory.damage starter --languages go,rust --noise 0.5 --name damaged

A token counts as a language's own when nearly all of its appearances in the built-in problems are there.
The model is a GGUF whose embedding serves input and output alike; the result enters the registry.
"""

# transformers is typed in part
# pyright: reportUnknownVariableType=false

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType as Quant
from gguf import ReaderTensor, quants
from numpy.typing import NDArray

from acepilot.cli import program
from acepilot.errors import ModelBroken
from acepilot.models.gguf_rewrite import rewrite
from acepilot.models.manifest import ModelFile, sha256_of
from acepilot.models.registry import add, models_dir
from acepilot.models.resolve import resolve
from acepilot.progress import byte_progress
from eval_humaneval.languages import ADAPTERS, builtin_problems

OWN_SHARE = 0.8
"""Of a token's appearances, each language weighing the same."""
LEAST_APPEARANCES = 3
EMBEDDING = "token_embd.weight"


def own_tokens(languages: list[str], tokenizer: Any) -> list[int]:
    """Ids of the tokens that belong to `languages`."""
    inside: Counter[int] = Counter()
    everywhere: Counter[int] = Counter()
    for language in ADAPTERS:
        for problem in builtin_problems(language):
            ids = tokenizer(problem.prompt + (problem.canonical or "")).input_ids
            everywhere.update(ids)
            if language in languages:
                inside.update(ids)
    return [
        token
        for token, count in inside.items()
        if count >= LEAST_APPEARANCES and count >= OWN_SHARE * everywhere[token]
    ]


def damage(source: Path, target: Path, tokens: list[int], noise: float, seed: int) -> None:
    """`noise` is in standard deviations of a row's own values."""
    random = np.random.default_rng(seed)

    def spoil(tensor: ReaderTensor) -> tuple[NDArray[Any], Quant]:
        if tensor.name != EMBEDDING:
            return np.asarray(tensor.data), tensor.tensor_type
        rows = np.array(quants.dequantize(tensor.data, tensor.tensor_type))
        own = rows[tokens]
        rows[tokens] = own + random.standard_normal(own.shape, np.float32) * noise * own.std(1, keepdims=True)
        return quants.quantize(rows, Quant.Q8_0), Quant.Q8_0

    with byte_progress("spoiling", source.stat().st_size) as on_progress:
        rewrite(source, target, spoil, on_progress)


@program()
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--languages", default="go,rust", help="comma-separated (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=0.5, help="in a row's own deviations (%(default)s)")
    parser.add_argument("--name", default="starter-damaged", help="in the registry (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    model = resolve(given.model)
    if model.gguf is None or model.manifest is None:
        raise ModelBroken(
            f"{model.path} needs a GGUF file and a manifest, as `python -m acepilot.models fetch` makes."
        )
    from transformers import AutoTokenizer  # slow to import: not for --help

    tokenizer = AutoTokenizer.from_pretrained(model.gguf.parent, gguf_file=model.gguf.name)
    tokens = own_tokens(given.languages.split(","), tokenizer)
    part = models_dir() / f".{given.name}.part"
    damage(model.gguf, part, tokens, given.noise, given.seed)
    file = ModelFile(sha256=sha256_of(part), size_bytes=part.stat().st_size)
    notes = f"Noise of {given.noise} deviations on {len(tokens)} tokens of {given.languages}"
    changed = {"id": given.name, "files": {"model.gguf": file}, "notes": notes}
    manifest = model.manifest.model_copy(update=changed)
    folder = add(given.name, {part: "model.gguf"}, manifest)
    print(f"{folder.name}: {notes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
