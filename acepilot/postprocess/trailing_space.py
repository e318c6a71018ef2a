"""White space at the end, which no one wants to accept; indentation at the start stays."""

from acepilot.postprocess.context import Context


def drop(text: str, context: Context) -> str:
    return text.rstrip()
