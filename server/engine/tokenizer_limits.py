"""Checks of a tokenizer that comes with a model from anybody, before it encodes a user's text.

`tokenizers` runs what tokenizer.json describes: rules that replace texts, and regular expressions. A few
rules in a row make gigabytes of one letter. Some errors in its Rust code reach Python as panics, which are
not Exceptions.
"""

import json
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from acepilot.errors import EngineFailed, ModelBroken

MAX_GROWTH = 100
"""Characters that a tokenizer may make of one. NFKC makes up to 18, and bytes as characters up to 4."""

MAX_PIECES = 100
"""Pieces of the template that puts special tokens around a text. Published models have at most five."""

MAX_NESTING = 10
"""Sequences of rules inside each other. Published models have one inside another."""

PROBE = "".join(
    [
        "def add(left, right):\n    return left + right  # é, 漢字, 🙂\n",
        *(f"{sign * 400}\n{sign * 40}!" for sign in "aA0 _-(.\té漢🙂"),
        "aA0" * 100,
    ]
)
"""Code, and long runs, for which bad regular expressions need time. A good tokenizer takes a millisecond."""

PROBE_S = 10.0
"""Seconds for PROBE, also on a slow machine that does other work."""

_GROWTHS = {
    "ByteLevel": 4,
    "BertNormalizer": 3,
    "Precompiled": 4,
    "Nmt": 1,
    "Metaspace": 2,
    "ByteFallback": 1,
}
_LENGTHENS_ONCE = frozenset({"NFC", "NFD", "NFKC", "NFKD", "Lowercase"})
"""Rules that change nothing when they are applied again."""


def check_tokenizer(tokenizer_json: str, path: Path) -> None:
    """Raise ModelBroken if the tokenizer can make a text longer than any tokenizer of a model does."""
    try:
        parts: dict[str, Any] = json.loads(tokenizer_json)
        growth = _growth(parts.get("normalizer"), "normalizers")
        growth *= _growth(parts.get("pre_tokenizer"), "pretokenizers")
        too_long = max(growth, _growth(parts.get("decoder"), "decoders")) > MAX_GROWTH
        too_long = too_long or _pieces(parts.get("post_processor")) > MAX_PIECES
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ModelBroken(
            f"The tokenizer in {path} cannot be read. Fetch or export the model again."
        ) from error
    if too_long:
        raise ModelBroken(
            f"The tokenizer in {path} makes texts over {MAX_GROWTH} times longer; no good tokenizer does. "
            "Get the model from a publisher that you trust."
        )


def probe_tokenizer(encode: Callable[[str], object], path: Path) -> None:
    """Encode PROBE. Raises ModelBroken when that fails, or takes more than PROBE_S."""
    began = time.monotonic()
    try:
        with tokenizer_errors():
            encode(PROBE)
    except EngineFailed as error:
        raise ModelBroken(
            f"The tokenizer in {path} fails on ordinary text. Fetch the model again."
        ) from error
    if time.monotonic() - began > PROBE_S:
        raise ModelBroken(
            f"The tokenizer in {path} takes over {PROBE_S:.0f} s for {len(PROBE):,} characters. Get the "
            "model from a publisher that you trust."
        )


@contextmanager
def tokenizer_errors() -> Generator[None]:
    """Raise EngineFailed for every error of a tokenizer, without its message, which may quote the text."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of Rust code is not an Exception
        raise EngineFailed(
            f"The model's tokenizer failed on this text ({type(error).__name__}). If that happens again, "
            "fetch the model again, or serve another one."
        ) from None


def _growth(rules: Any, inside: str) -> int:
    """Return how many characters the rules make of one at most. `inside`: the key of a sequence's rules."""
    flat = _flat(rules, inside)
    growth = 18 if any(rule["type"] in _LENGTHENS_ONCE for rule in flat) else 1
    for rule in flat:
        if rule["type"] == "Prepend":
            growth *= 1 + len(rule["prepend"])
        elif rule["type"] == "Replace":
            growth *= _replacement_growth(cast(dict[str, str], rule["pattern"]), len(rule["content"]))
        else:
            growth *= _GROWTHS.get(rule["type"], 1)
    return growth


def _replacement_growth(pattern: dict[str, str], content: int) -> int:
    """A regular expression may match between all characters; a text only where it stands."""
    found = len(pattern.get("String", ""))
    return max(1, -(-content // found)) if found else 1 + content


def _flat(rules: Any, inside: str, depth: int = 0) -> list[dict[str, Any]]:
    if rules is None:
        return []
    if depth > MAX_NESTING:
        raise ValueError("too deep")
    if rules["type"] == "Sequence":
        return [rule for one in rules[inside] for rule in _flat(one, inside, depth + 1)]
    return [rules]


def _pieces(rules: Any) -> int:
    processors = _flat(rules, "processors")
    return sum(len(one.get("single", ())) for one in processors)
