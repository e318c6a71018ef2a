"""The log on stderr."""

import logging
import sys

from acepilot.logs import NoPayload


def test_logs_hold_no_payload() -> None:
    record = logging.LogRecord("pygls", logging.ERROR, "f", 1, "Failed: %s", ("secret",), None)
    assert NoPayload().format(record) == "ERROR pygls: Failed: %s"
    try:
        raise ValueError("secret")
    except ValueError:
        record.exc_info = sys.exc_info()
    shown = NoPayload().format(record)
    assert "ValueError" in shown
    assert "test_logs_hold_no_payload" in shown
    assert "secret" not in shown
