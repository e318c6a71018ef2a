"""Check a written GGUF against its source with transformers' reader, which shares no code with the writer."""

import copy
import math
import unicodedata
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from finetune.convert.check import Comparison, Tolerance, accept, check_same_tokens, compare, encoder
from finetune.convert.gguf.tensors import GgufType
from finetune.convert.gguf.tokenizer import with_named_pre_tokenizer
from finetune.convert.gguf.writer import GGUF_FILE
from finetune.convert.probe import PROBE_TEXT, probe_ids
from finetune.convert.source import Source
from finetune.convert.streaming import empty_model, streamed_logits

READ_BACK_RATIO = 2.5
"""Memory that transformers needs to read a GGUF, as a multiple of the model's size in float32."""
UNREAD_KEYS = ("head_dim", "rope_parameters", "attention_bias", "mlp_bias", "sliding_window")
"""Config keys that transformers does not read from a GGUF: the check takes them from the source."""
TOLERANCES: dict[GgufType, Tolerance] = {
    "F16": Tolerance(shift=0.002, noise=0.01),
    "Q8_0": Tolerance(shift=0.05, noise=0.15),
}
"""Measured with tuned starters: no shift and no noise in F16; in Q8_0 a shift of 0.1 % to 2.4 % and a
noise of 2 % to 5 %, most for small changes of a base that was itself published in Q8_0."""


def check_gguf(source: Source, folder: Path, kind: GgufType, available_bytes: float) -> Comparison:
    """Compare `folder`/model.gguf with `source`. Raises CheckFailed.

    transformers holds the whole model in memory; if `available_bytes` is too little for that, only the first
    layers are compared.
    """
    gguf = {"pretrained_model_name_or_path": folder, "gguf_file": GGUF_FILE}
    tokenizer = with_named_pre_tokenizer(
        AutoTokenizer.from_pretrained(**gguf, trust_remote_code=False), folder / GGUF_FILE
    )
    normalizes = source.tokenizer.backend_tokenizer.normalizer is not None
    probe = unicodedata.normalize("NFC", PROBE_TEXT) if normalizes else PROBE_TEXT
    check_same_tokens(source.tokenizer, encoder(tokenizer), probe)
    layers = _layers_that_fit(source.config, available_bytes)
    written_config = cast(Any, AutoConfig.from_pretrained(**gguf, trust_remote_code=False))
    for key in UNREAD_KEYS:
        if hasattr(source.config, key):
            setattr(written_config, key, getattr(source.config, key))
    written: Any = AutoModelForCausalLM.from_pretrained(
        **gguf,
        config=_with_layers(written_config, layers),
        dtype=torch.float32,
        trust_remote_code=False,
    )
    ids = probe_ids(source)
    with torch.inference_mode():
        after = written(input_ids=ids[None]).logits[0]
    del written
    before = streamed_logits(_with_layers(source.config, layers), source.weights, ids)
    comparison = compare(before, after, ids, layers if layers < source.config.num_hidden_layers else None)
    return accept(comparison, TOLERANCES[kind], "GGUF")


def _layers_that_fit(config: Any, available_bytes: float) -> int:
    sizes = {name: 4 * weight.numel() for name, weight in empty_model(config).named_parameters()}
    total_bytes = sum(sizes.values())
    layer_bytes = sum(size for name, size in sizes.items() if ".layers.0." in name)
    missing = math.ceil(max(0, total_bytes - available_bytes / READ_BACK_RATIO) / layer_bytes)
    return max(1, config.num_hidden_layers - missing)


def _with_layers(config: Any, layers: int) -> Any:
    shortened = copy.deepcopy(config)
    shortened.num_hidden_layers = layers
    return shortened
