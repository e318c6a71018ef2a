"""Read a JSON file of a model that may come from anybody."""

import json
from pathlib import Path
from typing import Any, cast

from acepilot.errors import ModelBroken

MAX_BYTES = 100_000_000
"""The largest that are known, tokenizers and indexes of tensors, have 20 MB."""


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises ModelBroken when none can be read, and OSError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is over {MAX_BYTES // 1_000_000} MB")
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise TypeError("it holds no object")
    except (ValueError, TypeError, RecursionError) as error:  # a RecursionError for 100,000 brackets
        raise ModelBroken(f"{path} cannot be read: {error}. Fetch or export the model again.") from error
    return cast(dict[str, Any], found)
