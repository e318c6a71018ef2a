"""From a spec's neutral names and prose to those of one language: what all adapters need to render."""

import re
import textwrap
from collections.abc import Callable


def camel(name: str) -> str:
    """`full_name` as fullName."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def pascal(name: str) -> str:
    """`full_name` as FullName."""
    return "".join(map(str.capitalize, name.split("_")))


def prose(text: str, mark: Callable[[str], str], width: int = 88) -> list[str]:
    """Lines of `text` for a doc comment; `mark` writes a parameter, which stands there in backquotes."""
    marked = re.sub(r"`(\w+)`", lambda match: mark(match[1]), text)
    return textwrap.wrap(marked, width, break_long_words=False, break_on_hyphens=False)
