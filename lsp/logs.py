"""Logging to stderr that cannot leak code: what libraries put into their messages stays out.

pygls logs message bodies, and an exception's text may quote its input (pydantic, cattrs, json). So of a
library's record only the unformatted template is printed, and of an exception only its type and places.
"""

import logging
import sys
import traceback
from types import TracebackType

OUR_LOGGER = "acepilot"


class NoPayload(logging.Formatter):
    """Our own messages in full (they hold no code, by habit); of all others the template."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.split(".")[0] == OUR_LOGGER
        message = record.getMessage() if ours else str(record.msg)
        line = f"{record.levelname} {record.name}: {message}"
        if record.exc_info and record.exc_info[0] is not None:
            line += "\n" + describe(record.exc_info[0], record.exc_info[2])
        return line


def describe(kind: type[BaseException], trace: TracebackType | None) -> str:
    """An exception's type and where it came from, without its words."""
    places = [f"  at {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
    return "\n".join([f"  {kind.__qualname__}", *places])


def set_up() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(NoPayload())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("pygls").setLevel(logging.WARNING)
    logging.getLogger(OUR_LOGGER).setLevel(logging.INFO)
