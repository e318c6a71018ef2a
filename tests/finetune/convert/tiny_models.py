"""Tiny random models of several families, with tokenizers trained on this repository's text."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    CodeGenConfig,
    GPTBigCodeConfig,
    GPTJConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    Starcoder2Config,
)

from finetune.convert.gguf.tokenizer import PRE_TOKENIZERS
from finetune.modeling.tiny import REPOSITORY

SENTINELS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>"]
VOCABULARY = 640
"""Embedding rows of a model. Its tokenizer has fewer tokens."""

_SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
_PAIRS = {"n_embd": 128, "n_layer": 3, "n_head": 4, "rotary_dim": 16, "n_positions": 512}
_IDS = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.1}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

CONFIGS: dict[str, Any] = {
    "llama": LlamaConfig(**_SHAPE, **_IDS),
    "llama-biased": LlamaConfig(**_SHAPE, **_IDS, attention_bias=True, mlp_bias=True),
    "llama3": LlamaConfig(**_SHAPE, **_IDS, rope_parameters=_LLAMA3, tie_word_embeddings=True),
    "mistral": MistralConfig(**_SHAPE, **_IDS, head_dim=32, sliding_window=300),
    "qwen2": Qwen2Config(**_SHAPE, **_IDS, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**_SHAPE, **_IDS, head_dim=32),
    "starcoder2": Starcoder2Config(**_SHAPE, **_IDS, sliding_window=None),
    "codegen": CodeGenConfig(**_PAIRS, **_IDS, n_ctx=512),
    "gptj": GPTJConfig(**_PAIRS, **_IDS),
    "gpt_bigcode": GPTBigCodeConfig(n_embd=128, n_layer=3, n_head=4, n_positions=512, **_IDS),
}


def trained_tokenizer(pre_tokenizer: str, *, nfc: bool = False) -> PreTrainedTokenizerFast:
    """Train a tokenizer; `pre_tokenizer` is a name in PRE_TOKENIZERS.

    The end token has id 0. The sentinels are added tokens, but not special ones.
    """
    known = PRE_TOKENIZERS[pre_tokenizer]
    tokenizer: Any = Tokenizer(models.BPE(ignore_merges=known.whole_words))
    tokenizer.pre_tokenizer = known.rules
    tokenizer.decoder = decoders.ByteLevel()
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    trainer: Any = BpeTrainer(
        vocab_size=VOCABULARY - 40,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "acepilot").glob("*.py"))]
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(SENTINELS)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )


def a_model(folder: Path, family: str, pre_tokenizer: str = "qwen2", *, nfc: bool = False) -> Path:
    """Save a random model into `folder` and return it; `family` is a name in CONFIGS."""
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(CONFIGS[family])
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:  # zeros and ones would hide a forgotten bias or norm
                weight.add_(torch.randn_like(weight), alpha=0.1)
            assert name
    model.save_pretrained(folder)
    trained_tokenizer(pre_tokenizer, nfc=nfc).save_pretrained(folder)
    return folder
