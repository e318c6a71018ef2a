"""The trails of the last completions, in memory only: `GET /v1/explain/{id}` reads them."""

from collections import OrderedDict

from acepilot.errors import NotFound
from acepilot.trail import Trail

CAPACITY = 1024
"""Trails kept, some 1 kB each: enough to ask about any completion of the last minutes."""


class Trails:
    def __init__(self) -> None:
        self._trails: OrderedDict[str, Trail] = OrderedDict()

    def put(self, trail: Trail) -> None:
        self._trails[trail.id] = trail
        while len(self._trails) > CAPACITY:
            self._trails.popitem(last=False)

    def get(self, completion_id: str) -> Trail:
        """Return the trail of a completion. Raises NotFound."""
        trail = self._trails.get(completion_id)
        if trail is None:
            raise NotFound(
                f"There is no completion `{completion_id}` in memory. The server remembers the last "
                f"{CAPACITY} completions since its start."
            )
        return trail
