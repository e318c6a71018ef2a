"""Logging to stderr that cannot leak code from the messages of libraries, as pygls logs message bodies."""

import logging
import sys

from acepilot.logs import LIBRARY_LINES, OUR_LOGGER, LimitRecords, LineLimit, LogOutput, NoPayload


def set_up() -> None:
    handler = logging.StreamHandler(LogOutput(sys.stderr))
    handler.setFormatter(NoPayload())
    handler.addFilter(LimitRecords(LineLimit(LIBRARY_LINES)))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("pygls").setLevel(logging.WARNING)
    logging.getLogger(OUR_LOGGER).setLevel(logging.INFO)
