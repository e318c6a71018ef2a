"""Fill-in-the-middle (FIM) formats: how prefix and suffix are laid out for each family of models.

All formats use the order prefix, suffix, middle. The order suffix, prefix would let the KV cache keep the
suffix too, but the starter then repeats the whole file. Texts are clipped before they are rendered, so that
no sentinel is cut off. Special tokens in a user's file are broken up first.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from acepilot.protocol import Snippet


@dataclass(frozen=True)
class FimFormat:
    """The sentinels of one family of models. `file_separator` begins another file, if there is one."""

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
    """Return True for a sentinel among a vocabulary's added tokens; Qwen does not mark its own as special."""
    return added in SENTINELS or (added.startswith("<|") and added.endswith("|>"))


def format_for(special_tokens: Collection[str]) -> FimFormat | None:
    """Return the format whose sentinels are all special tokens of a tokenizer; None: the model has no FIM.

    If the tokenizer lacks the family's `file_separator` (StarCoder 1, Granite), so does the format.
    """
    for fim in FORMATS:
        if {fim.prefix, fim.suffix, fim.middle} <= set(special_tokens):
            return fim if fim.file_separator in special_tokens else replace(fim, file_separator=None)
    return None


def break_special_tokens(text: str, special_tokens: Collection[str]) -> str:
    """Return `text` with a space in each special token, so that a user's file cannot steer the model."""
    if "<" not in text:  # every known special token has one; a scan for it is cheap
        return text
    for token in special_tokens:
        if token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def render_snippet(fim: FimFormat | None, snippet: Snippet, comment: str) -> str:
    """Return one snippet as the model reads it."""
    if fim and fim.file_separator:
        return f"{fim.file_separator}{snippet.path}\n{snippet.text}\n"
    return "".join(f"{comment} {line}\n" for line in (snippet.path, *snippet.text.splitlines()))


def render_own_path(fim: FimFormat | None, path: str) -> str:
    """Return the line that ends the snippets: the path of the file that is completed."""
    return f"{fim.file_separator}{path}\n" if path and fim and fim.file_separator else ""


def render(
    fim: FimFormat | None, prefix: str, suffix: str, snippets: Sequence[Snippet], *, path: str, comment: str
) -> str:
    """Return the model's prompt. Snippets come first, the oldest at the top, where the KV cache keeps them.

    `path`, the file that is completed, follows them. Without `fim` the suffix is left out (the early stops
    use it instead), and snippets become comment lines after `comment`, the language's line comment mark.
    """
    parts = [render_snippet(fim, snippet, comment) for snippet in snippets]
    if snippets:
        parts.append(render_own_path(fim, path))
    if fim is None:
        parts.append(prefix)
    else:
        parts.append(f"{fim.prefix}{prefix}{fim.suffix}{suffix}{fim.middle}")
    return "".join(parts)
