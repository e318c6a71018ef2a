"""Drop white space at the end; indentation at the start stays."""

from acepilot.postprocess.context import Context


def drop(text: str, context: Context) -> str:
    return text.rstrip()
