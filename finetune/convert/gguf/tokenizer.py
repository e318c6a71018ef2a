"""Write a byte-level BPE tokenizer into a GGUF: tokens, types, merges, and the name of its pre-tokenizer.

llama.cpp knows pre-tokenizers (the rules that split text before BPE) by name only, so only those in
`PRE_TOKENIZERS` can be written. transformers ignores the name when it reads a GGUF; the table repairs that
too.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType
from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

from acepilot.errors import ConfigError
from acepilot.fim import format_for
from acepilot.models.gguf_file import open_gguf, text_field

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _bytes(*patterns: str, digits: bool = False) -> Sequence:
    """Return the pre-tokenizer that splits at each of `patterns` in turn, and then maps bytes to symbols."""
    cuts: list[Any] = [Split(Regex(pattern), "isolated") for pattern in patterns]
    if digits:
        cuts.append(Digits(individual_digits=True))
    return Sequence([*cuts, ByteLevel(add_prefix_space=False, use_regex=not patterns)])


@dataclass(frozen=True)
class PreTokenizer:
    """`whole_words` is `ignore_merges`: a piece that is a token itself is used without merging."""

    rules: Sequence
    whole_words: bool = False


PRE_TOKENIZERS = {
    "gpt-2": PreTokenizer(_bytes()),
    "smollm": PreTokenizer(_bytes(digits=True)),
    "qwen2": PreTokenizer(_bytes(rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_REST}")),
    "llama-bpe": PreTokenizer(_bytes(rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}"), whole_words=True),
    "deepseek-coder": PreTokenizer(
        _bytes("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", digits=True)
    ),
    "tekken": PreTokenizer(_bytes(_TEKKEN), whole_words=True),
}
"""llama.cpp's name -> rules, with the patterns of the models' own tokenizer.json."""
_ALIASES = {"starcoder": "smollm", "refact": "smollm", "codeshell": "smollm"}


def add_tokenizer(writer: GGUFWriter, tokenizer: Any, vocabulary: int) -> None:
    """Add a transformers tokenizer to the file; `vocabulary` is the number of embedding rows, some unused.

    Raises ConfigError when llama.cpp has no name for its pre-tokenizer.
    """
    state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer_name(state))
    texts, kinds = _tokens(state, vocabulary)
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    merges: list[Any] = state["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    for name in ("bos", "eos", "unk", "pad"):
        token_id = getattr(tokenizer, f"{name}_token_id")
        if token_id is not None:
            getattr(writer, f"add_{name}_token_id")(token_id)
    fim = format_for(control_tokens(state))
    if fim:
        ids = {text: index for index, text in enumerate(texts)}
        for name, text in {"pre": fim.prefix, "suf": fim.suffix, "mid": fim.middle}.items():
            writer.add_uint32(f"tokenizer.ggml.fim_{name}_token_id", ids[text])
        if fim.file_separator:
            writer.add_uint32("tokenizer.ggml.fim_sep_token_id", ids[fim.file_separator])
    adds_bos = tokenizer.bos_token_id is not None and tokenizer("a").input_ids[0] == tokenizer.bos_token_id
    writer.add_add_bos_token(adds_bos)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def pre_tokenizer_name(state: dict[str, Any]) -> str:
    """Return llama.cpp's name of the pre-tokenizer in `state`, a tokenizer.json. Raises ConfigError.

    A GGUF cannot express Qwen's NFC normalization, and llama.cpp does without it. Nearly all code is in NFC
    already, and is then tokenized alike.
    """
    model = state["model"]
    normalizer = (state["normalizer"] or {"type": "NFC"})["type"]
    if model["type"] == "BPE" and not model.get("byte_fallback") and normalizer == "NFC":
        rules = _canonical(state["pre_tokenizer"])
        for name, known in PRE_TOKENIZERS.items():
            same = rules == _canonical(json.loads(known.rules.__getstate__()))
            if same and known.whole_words == bool(model.get("ignore_merges")):
                return name
    raise ConfigError(
        f"This model's tokenizer ({model['type']}) has a pre-tokenizer without a name in GGUF; supported are "
        f"{', '.join(PRE_TOKENIZERS)}.",
        field="model",
    )


def _canonical(pre_tokenizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the steps without the keys that change no token."""
    steps = (pre_tokenizer or {}).get("pretokenizers", [pre_tokenizer or {}])
    return [{key: value for key, value in step.items() if key != "trim_offsets"} for step in steps]


def control_tokens(state: dict[str, Any]) -> set[str]:
    """Return the special tokens, with the sentinels, which tokenizer.json may not call special."""
    added: dict[str, bool] = {token["content"]: token["special"] for token in state["added_tokens"]}
    fim = format_for(added)
    sentinels = {fim.prefix, fim.suffix, fim.middle, fim.file_separator} if fim else set[str | None]()
    return {text for text, special in added.items() if special or text in sentinels}


def _tokens(state: dict[str, Any], vocabulary: int) -> tuple[list[str], list[int]]:
    ids: dict[str, int] = dict(state["model"]["vocab"])
    kinds = dict.fromkeys(ids, TokenType.NORMAL)
    controls = control_tokens(state)
    for token in state["added_tokens"]:
        text = token["content"]
        ids[text] = token["id"]
        kinds[text] = TokenType.CONTROL if text in controls else TokenType.USER_DEFINED
    by_id = {index: text for text, index in ids.items()}
    if len(by_id) < len(ids) or max(by_id) >= vocabulary:
        raise ConfigError(
            f"The tokenizer has {max(by_id) + 1} tokens and the model has {vocabulary} embedding rows: they "
            "do not belong together. Copy the model's own tokenizer into its folder.",
            field="model",
        )
    texts = [by_id.get(index, f"[PAD{index}]") for index in range(vocabulary)]
    return texts, [kinds.get(text, TokenType.UNUSED) for text in texts]


def with_named_pre_tokenizer(tokenizer: Any, gguf: Path) -> Any:
    """Give `tokenizer`, as transformers read it from `gguf`, the pre-tokenizer that the file names.

    Return `tokenizer`. Raises ConfigError for an unknown name, and ModelBroken.
    """
    reader = open_gguf(gguf)
    if text_field(reader, "tokenizer.ggml.model") != "gpt2":
        return tokenizer
    name = text_field(reader, "tokenizer.ggml.pre")
    known = PRE_TOKENIZERS.get(_ALIASES.get(name, name))
    if known is None:
        raise ConfigError(
            f"{gguf} has the pre-tokenizer {name}; supported are {', '.join(PRE_TOKENIZERS)}.", field="model"
        )
    tokenizer.backend_tokenizer.pre_tokenizer = known.rules
    tokenizer.backend_tokenizer.model.ignore_merges = known.whole_words
    return tokenizer
