"""Damage a model in some languages only, to test that the gate rejects it.

    python -m eval_humaneval.gate.laboratory.damage starter --languages go,rust --noise 0.5 --name damaged
    python -m eval_humaneval compare starter damaged --samples 5 --temperature 0.2

Adds noise to the embeddings of the tokens that occur almost only in the built-in problems of these
languages. The model must be a GGUF file that uses one embedding for input and output. The damaged model
enters the registry.
"""

# transformers is only partly typed
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
from acepilot.models.manifest import StoredFile, sha256_of
from acepilot.models.registry import add, models_dir
from acepilot.models.resolve import resolve
from acepilot.progress import byte_progress
from eval_humaneval.languages import ADAPTERS, builtin_problems

OWN_SHARE = 0.8
"""Share of a token's occurrences that must lie in the damaged languages."""
MIN_OCCURRENCES = 3
"""Rarer tokens are left alone: their share is a coincidence."""
EMBEDDING = "token_embd.weight"


def own_tokens(languages: list[str], tokenizer: Any) -> list[int]:
    """Return the ids of the tokens that belong to `languages`."""
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
        if count >= MIN_OCCURRENCES and count >= OWN_SHARE * everywhere[token]
    ]


def damage(source: Path, target: Path, tokens: list[int], noise: float, seed: int) -> None:
    """Copy `source` with noise on the embeddings of `tokens`, in standard deviations of each row."""
    random = np.random.default_rng(seed)

    def add_noise(tensor: ReaderTensor) -> tuple[NDArray[Any], Quant]:
        if tensor.name != EMBEDDING:
            return np.asarray(tensor.data), tensor.tensor_type
        rows = np.array(quants.dequantize(tensor.data, tensor.tensor_type))
        own = rows[tokens]
        rows[tokens] = own + random.standard_normal(own.shape, np.float32) * noise * own.std(1, keepdims=True)
        return quants.quantize(rows, Quant.Q8_0), Quant.Q8_0

    with byte_progress("damaging", source.stat().st_size) as on_progress:
        rewrite(source, target, add_noise, on_progress)


@program()
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m eval_humaneval.gate.laboratory.damage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", default="starter", help="in the registry (%(default)s)")
    parser.add_argument("--languages", default="go,rust", help="comma-separated (%(default)s)")
    parser.add_argument("--noise", type=float, default=0.5, help="standard deviations of a row (%(default)s)")
    parser.add_argument("--name", default="starter-damaged", help="of the damaged model (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (%(default)s)")
    given = parser.parse_args()
    model = resolve(given.model)
    if model.gguf is None or model.manifest is None:
        raise ModelBroken(
            f"{model.path} needs a GGUF file and a manifest: name a model that "
            "`python -m acepilot.models fetch` has made."
        )
    from transformers import AutoTokenizer  # slow: --help does without

    tokenizer = AutoTokenizer.from_pretrained(
        model.gguf.parent, gguf_file=model.gguf.name, trust_remote_code=False
    )
    tokens = own_tokens(given.languages.split(","), tokenizer)
    part = models_dir() / f".{given.name}.part"
    damage(model.gguf, part, tokens, given.noise, given.seed)
    file = StoredFile(sha256=sha256_of(part), size_bytes=part.stat().st_size)
    notes = f"Noise of {given.noise} standard deviations on {len(tokens)} tokens of {given.languages}"
    changed = {"id": given.name, "files": {"model.gguf": file}, "notes": notes}
    manifest = model.manifest.model_copy(update=changed)
    folder = add(given.name, {part: "model.gguf"}, manifest)
    print(f"{folder.name}: {notes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
