"""Fill-in-the-middle formats as data: how prefix and suffix are laid out for each family of models.

The prefix-suffix-middle order is used throughout: the starter follows it best (suffix-first, which would let
the KV cache keep the suffix too, made it repeat the whole file), and clipping happens before rendering, so a
sentinel is never cut away. A file that itself contains a sentinel has it broken up first.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from acepilot.protocol import Snippet


@dataclass(frozen=True)
class FimFormat:
    """The sentinels of one family. `file_separator` introduces another file, where the model knows that."""

    name: str
    prefix: str
    suffix: str
    middle: str
    file_separator: str | None = None


FORMATS = (
    FimFormat("qwen", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>"),
    FimFormat("starcoder", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<file_sep>"),
    FimFormat("santacoder", "<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    FimFormat("codellama", "▁<PRE>", "▁<SUF>", "▁<MID>"),
    FimFormat("deepseek", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
)

SENTINELS = frozenset(
    text for fim in FORMATS for text in (fim.prefix, fim.suffix, fim.middle, fim.file_separator) if text
)


def is_sentinel(added: str) -> bool:
    """Of a token that was added to a vocabulary: some models' files do not call theirs special (Qwen's)."""
    return added in SENTINELS or (added.startswith("<|") and added.endswith("|>"))


def format_for(special_tokens: Collection[str]) -> FimFormat | None:
    """The format whose sentinels are all among a tokenizer's special tokens; None: the model has no FIM.

    Without its family's `file_separator` where the tokenizer has no such token (StarCoder 1, Granite).
    """
    for fim in FORMATS:
        if {fim.prefix, fim.suffix, fim.middle} <= set(special_tokens):
            return fim if fim.file_separator in special_tokens else replace(fim, file_separator=None)
    return None


def neutralise(text: str, special_tokens: Collection[str]) -> str:
    """`text` with each special token broken by a space, so that a user's file cannot steer the model."""
    if "<" not in text:  # every known special token has one; most files are left alone at the cost of a scan
        return text
    for token in special_tokens:
        if token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def told(fim: FimFormat | None, snippet: Snippet, comment: str) -> str:
    """One snippet as the model reads it."""
    if fim and fim.file_separator:
        return f"{fim.file_separator}{snippet.path}\n{snippet.text}\n"
    return "".join(f"{comment} {line}\n" for line in (snippet.path, *snippet.text.splitlines()))


def own_name(fim: FimFormat | None, path: str) -> str:
    """What ends the snippets: from here on, it is the file itself."""
    return f"{fim.file_separator}{path}\n" if path and fim and fim.file_separator else ""


def render(
    fim: FimFormat | None,
    prefix: str,
    suffix: str,
    snippets: Sequence[Snippet],
    *,
    path: str,
    comment: str,
) -> str:
    """The model's prompt. Snippets come first, oldest first: the KV cache keeps them while the user types.

    `path` names the file itself after them. Without `fim` the suffix is left out (the early stops use it
    instead), and snippets become comment lines behind `comment`, the language's line comment mark.
    """
    parts = [told(fim, snippet, comment) for snippet in snippets]
    if snippets:
        parts.append(own_name(fim, path))
    if fim is None:
        parts.append(prefix)
    else:
        parts.append(f"{fim.prefix}{prefix}{fim.suffix}{suffix}{fim.middle}")
    return "".join(parts)
