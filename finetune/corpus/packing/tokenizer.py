"""Build, step 9: the tokenizer of the model to be tuned, with sentinels for fill-in-the-middle.

A model without fill-in-the-middle, such as CodeGen, gets sentinels in unused embedding rows (CodeGen: 50,295
to 51,199), so no weight changes its shape. They have the names of a known format, so the server recognizes
them.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tokenizers import AddedToken, Tokenizer

from acepilot.corpus import Sentinels
from acepilot.errors import ConfigError
from acepilot.fim import FORMATS, FimFormat, format_for

_ENDS = ("<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "</s>")
_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
)


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer for packing. `special` are tokens that a document must not contain as text."""

    encode: Callable[[str], "Encoded"]
    end: tuple[str, int]
    sentinels: Sentinels | None
    special: tuple[str, ...]


@dataclass(frozen=True)
class Encoded:
    """Token ids, and for each id its characters [start, end)."""

    ids: list[int]
    spans: list[tuple[int, int]]


def prepare_tokenizer(model: Path, out: Path, fim_rate: float) -> None:
    """Copy a model's tokenizer to `out`; add sentinels if it has none and `fim_rate` is above 0."""
    if not (model / "tokenizer.json").is_file():
        raise ConfigError(
            f"{model} has no tokenizer.json: give the folder of a model that transformers saved."
        )
    out.mkdir(parents=True)
    for name in _FILES:
        if (model / name).is_file():
            shutil.copyfile(model / name, out / name)
    tokenizer = _load(out)
    if fim_rate == 0 or format_for(_added(tokenizer)) is not None:
        return
    chosen = FORMATS[0]
    rows = _rows(model)
    first = tokenizer.get_vocab_size(with_added_tokens=True)
    if rows is None or first + 3 > rows:
        raise ConfigError(
            f"The tokenizer of {model} has no fill-in-the-middle tokens, and its config.json shows no unused "
            f"embedding rows for them ({rows or 'unknown'} rows, {first} tokens): build with --fim-rate 0."
        )
    tokenizer.add_special_tokens(
        [
            AddedToken(text, special=True, normalized=False)
            for text in (chosen.prefix, chosen.suffix, chosen.middle)
        ]
    )
    tokenizer.save(str(out / "tokenizer.json"))
    _register(out / "tokenizer_config.json", chosen)


def load_vocabulary(folder: Path, original: Path) -> Vocabulary:
    """Load the tokenizer that `prepare_tokenizer` wrote. `original` is the model whose tokenizer it was."""
    tokenizer = _load(folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    added = _added(tokenizer)
    fim = format_for(added)
    sentinels = None
    if fim is not None:
        prefix, suffix, middle = (
            (text, _id(tokenizer, text)) for text in (fim.prefix, fim.suffix, fim.middle)
        )
        had_them = _load(original).token_to_id(fim.prefix) is not None
        sentinels = Sentinels(
            format=fim.name, prefix=prefix, suffix=suffix, middle=middle, added=not had_them
        )

    def encode(text: str) -> Encoded:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        return Encoded(encoding.ids, encoding.offsets)

    marks = tuple(token for token in added if token.startswith("<"))
    return Vocabulary(encode, _end(folder, tokenizer), sentinels, marks)


def _load(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises bare Exceptions
        raise ConfigError(f"{folder / 'tokenizer.json'} cannot be read: {error}") from error


def _id(tokenizer: Tokenizer, text: str) -> int:
    token = tokenizer.token_to_id(text)
    if token is None:
        raise ConfigError(
            f"The tokenizer has no token {text!r}: build with --fim-rate 0, or use another model."
        )
    return token


def _added(tokenizer: Tokenizer) -> list[str]:
    return [token.content for token in tokenizer.get_added_tokens_decoder().values()]


def _rows(model: Path) -> int | None:
    try:
        config: dict[str, Any] = json.loads((model / "config.json").read_text(encoding="utf-8"))
        return int(config["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _end(folder: Path, tokenizer: Tokenizer) -> tuple[str, int]:
    """Return the token after each document. Known names come first: a chat model's eos_token ends a turn."""
    try:
        config: dict[str, Any] = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    own: Any = config.get("eos_token")
    named: Any = cast(dict[str, Any], own).get("content") if isinstance(own, dict) else own
    for text in (*_ENDS, named):
        if isinstance(text, str) and (token := tokenizer.token_to_id(text)) is not None:
            return text, token
    raise ConfigError(
        f"The tokenizer in {folder} has no token for the end of a document: use a model that has one."
    )


def _register(config_file: Path, fim: FimFormat) -> None:
    """List the sentinels in the configuration, where transformers looks for special tokens."""
    try:
        config: dict[str, Any] = json.loads(config_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    config["extra_special_tokens"] = [fim.prefix, fim.suffix, fim.middle]
    config_file.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
