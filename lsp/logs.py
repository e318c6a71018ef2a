"""Logging to stderr that cannot leak code from the messages of libraries.

pygls logs message bodies, and an exception's text may quote its input (pydantic, cattrs, json). So only the
unformatted template of a library's record is printed, and only the type and the places of an exception.
"""

import logging
import sys
import traceback
from types import TracebackType

OUR_LOGGER = "acepilot"


class NoPayload(logging.Formatter):
    """Formats Acepilot's own records, which must hold no code, in full, and others as templates."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.split(".")[0] == OUR_LOGGER
        message = record.getMessage() if ours else str(record.msg)
        line = f"{record.levelname} {record.name}: {message}"
        if record.exc_info and record.exc_info[0] is not None:
            line += "\n" + describe(record.exc_info[0], record.exc_info[2])
        return line


def describe(kind: type[BaseException], trace: TracebackType | None) -> str:
    """Return an exception's type and traceback, without its message."""
    places = [f"  at {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
    return "\n".join([f"  {kind.__qualname__}", *places])


def set_up() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(NoPayload())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("pygls").setLevel(logging.WARNING)
    logging.getLogger(OUR_LOGGER).setLevel(logging.INFO)
