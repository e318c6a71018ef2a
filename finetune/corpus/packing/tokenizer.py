"""Build, step 9: the tokenizer of the model to be tuned, with sentinels for fill-in-the-middle.

A model without fill-in-the-middle, such as CodeGen, gets sentinels in unused embedding rows (CodeGen: 50,295
to 51,199), so no weight changes its shape. They have the names of a known format, so the server recognizes
them.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from tokenizers import AddedToken, Encoding, Tokenizer

from acepilot.corpus import Sentinels
from acepilot.errors import ConfigError
from acepilot.fim import FORMATS, format_for
from finetune.transformers_folder import TOKENIZER_FILES

_ENDS = ("<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "</s>")


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer for packing. `special` are tokens that a document must not contain as text."""

    encode: Callable[[str], Encoding]
    end: tuple[str, int]
    sentinels: Sentinels | None
    special: tuple[str, ...]


def prepare_tokenizer(model: Path, out: Path, fim_rate: float) -> None:
    """Copy a model's tokenizer to `out`; add sentinels if it has none and `fim_rate` is above 0."""
    if not (model / "tokenizer.json").is_file():
        raise ConfigError(
            f"{model} has no tokenizer.json: give the folder of a model that transformers saved."
        )
    out.mkdir(parents=True)
    for name in TOKENIZER_FILES:
        if (model / name).is_file():
            shutil.copyfile(model / name, out / name)
    tokenizer = _load(out)
    if fim_rate == 0 or format_for(_added(tokenizer)) is not None:
        return
    chosen = FORMATS[0]
    rows = _read_json(model / "config.json").get("vocab_size")
    first = tokenizer.get_vocab_size(with_added_tokens=True)
    if not isinstance(rows, int) or first + 3 > rows:
        raise ConfigError(
            f"The tokenizer of {model} has no fill-in-the-middle tokens, and its config.json shows no unused "
            f"embedding rows for them ({rows or 'unknown'} rows, {first} tokens): build with --fim-rate 0."
        )
    sentinels = [chosen.prefix, chosen.suffix, chosen.middle]
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in sentinels])
    tokenizer.save(str(out / "tokenizer.json"))
    if config := _read_json(out / "tokenizer_config.json"):  # where transformers looks for special tokens
        text = json.dumps({**config, "extra_special_tokens": sentinels}, indent=2, ensure_ascii=False)
        (out / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


def load_vocabulary(folder: Path, original: Path) -> Vocabulary:
    """Load the tokenizer that `prepare_tokenizer` wrote. `original` is the model whose tokenizer it was."""
    tokenizer = _load(folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    added = _added(tokenizer)
    fim = format_for(added)
    sentinels = None
    if fim is not None:
        prefix, suffix, middle = ((text, added[text]) for text in (fim.prefix, fim.suffix, fim.middle))
        had_them = _load(original).token_to_id(fim.prefix) is not None
        sentinels = Sentinels(
            format=fim.name, prefix=prefix, suffix=suffix, middle=middle, added=not had_them
        )
    encode = partial(tokenizer.encode, add_special_tokens=False)
    marks = tuple(token for token in added if token.startswith("<"))
    return Vocabulary(encode, _end(folder, tokenizer), sentinels, marks)


def _load(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises bare Exceptions
        raise ConfigError(f"{folder / 'tokenizer.json'} cannot be read: {error}") from error


def _added(tokenizer: Tokenizer) -> dict[str, int]:
    return {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}


def _read_json(file: Path) -> dict[str, Any]:
    """Return the object in a configuration file; an empty one when the file cannot be read."""
    try:
        return cast(dict[str, Any], json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return {}


def _end(folder: Path, tokenizer: Tokenizer) -> tuple[str, int]:
    """Return the token after each document. Known names come first: a chat model's eos_token ends a turn."""
    own: Any = _read_json(folder / "tokenizer_config.json").get("eos_token")
    named: Any = cast(dict[str, Any], own).get("content") if isinstance(own, dict) else own
    for text in (*_ENDS, named):
        if isinstance(text, str) and (token := tokenizer.token_to_id(text)) is not None:
            return text, token
    raise ConfigError(
        f"The tokenizer in {folder} has no token for the end of a document: use a model that has one."
    )
