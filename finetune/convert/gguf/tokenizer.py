"""A byte-level BPE tokenizer as GGUF keeps it: tokens, types, merges, and how text is cut first, by name.

llama.cpp knows the ways of cutting by name only, so `PRE_TOKENIZERS` is the whole of what can be written. The
same table tells transformers, whose own reader forgets the name, how a GGUF's tokenizer cuts.
"""

# tokenizers and transformers are typed only in part; the tests check how they are used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFReader, GGUFWriter, TokenType
from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

from acepilot.errors import ConfigError
from acepilot.fim import format_for

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _bytes(*patterns: str, digits: bool = False) -> Sequence:
    """Cut at each of `patterns` in turn, then bytes."""
    cuts: list[Any] = [Split(Regex(pattern), "isolated") for pattern in patterns]
    if digits:
        cuts.append(Digits(individual_digits=True))
    return Sequence([*cuts, ByteLevel(add_prefix_space=False, use_regex=not patterns)])


@dataclass(frozen=True)
class PreTokenizer:
    """`whole_words`: a piece that is a token is never merged from smaller ones (`ignore_merges`)."""

    cut: Sequence
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
"""By llama.cpp's names; the patterns are those of the models' own tokenizer.json."""
_SAME = {"starcoder": "smollm", "refact": "smollm", "codeshell": "smollm"}


def add_tokenizer(writer: GGUFWriter, tokenizer: Any, vocabulary: int) -> None:
    """`tokenizer` as transformers has it; `vocabulary`: the embedding's rows, of which some may be spare.

    Raises ConfigError when it is none that llama.cpp knows.
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
    """llama.cpp's name for how this tokenizer cuts text. Raises ConfigError when it has none.

    `state` is a tokenizer.json. NFC normalization, which Qwen asks for, has no place in a GGUF: llama.cpp
    leaves it out, and for text that is in NFC, as nearly all code is, that is no difference.
    """
    model = state["model"]
    normalizer = (state["normalizer"] or {"type": "NFC"})["type"]
    if model["type"] == "BPE" and not model.get("byte_fallback") and normalizer == "NFC":
        cut = _canonical(state["pre_tokenizer"])
        for name, known in PRE_TOKENIZERS.items():
            same = cut == _canonical(json.loads(known.cut.__getstate__()))
            if same and known.whole_words == bool(model.get("ignore_merges")):
                return name
    raise ConfigError(
        f"This model's tokenizer ({model['type']}) cuts text in a way that has no name in a GGUF; known are "
        f"{', '.join(PRE_TOKENIZERS)}.",
        field="model",
    )


def _canonical(pre_tokenizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Its steps without what changes no token."""
    steps = (pre_tokenizer or {}).get("pretokenizers", [pre_tokenizer or {}])
    return [{key: value for key, value in step.items() if key != "trim_offsets"} for step in steps]


def control_tokens(state: dict[str, Any]) -> set[str]:
    """Special tokens, and the sentinels of fill-in-the-middle, which tokenizer.json need not call special."""
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
            f"The tokenizer has {max(by_id) + 1} tokens, the model {vocabulary}: they do not fit.",
            field="model",
        )
    texts = [by_id.get(index, f"[PAD{index}]") for index in range(vocabulary)]
    return texts, [kinds.get(text, TokenType.UNUSED) for text in texts]


def cut_as_gguf_says(tokenizer: Any, gguf: Path) -> Any:
    """`tokenizer`, which transformers read from `gguf`, with the cuts that the file names.

    Raises ConfigError for a name that is not in the table.
    """
    fields = GGUFReader(gguf).fields
    if fields["tokenizer.ggml.model"].contents() != "gpt2":
        return tokenizer
    name = str(fields["tokenizer.ggml.pre"].contents())
    known = PRE_TOKENIZERS.get(_SAME.get(name, name))
    if known is None:
        raise ConfigError(
            f"{gguf} cuts text in a way called {name}; known are {', '.join(PRE_TOKENIZERS)}.", field="model"
        )
    tokenizer.backend_tokenizer.pre_tokenizer = known.cut
    tokenizer.backend_tokenizer.model.ignore_merges = known.whole_words
    return tokenizer
