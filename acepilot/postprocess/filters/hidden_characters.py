"""Drop characters that a reader of code cannot see, unless the document has them already.

It runs before the stops: a hidden character must not keep a stop from seeing what follows it.
"""

from acepilot.postprocess.context import Context
from acepilot.untrusted_text import HiddenCharacters


def drop(text: str, context: Context) -> str:
    return HiddenCharacters(context.prefix, context.hidden).visible(text)
