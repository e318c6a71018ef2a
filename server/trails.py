"""The reasons of the last completions, in memory only: `GET /v1/explain/{id}` reads them."""

from collections import OrderedDict

from acepilot.errors import NotFound
from acepilot.protocol import Trail

CAPACITY = 1024


class Trails:
    def __init__(self) -> None:
        self._trails: OrderedDict[str, Trail] = OrderedDict()

    def put(self, trail: Trail) -> None:
        self._trails[trail.id] = trail
        while len(self._trails) > CAPACITY:
            self._trails.popitem(last=False)

    def get(self, completion_id: str) -> Trail:
        """Raises NotFound."""
        trail = self._trails.get(completion_id)
        if trail is None:
            raise NotFound(
                f"No completion `{completion_id}` is remembered: the last {CAPACITY} are, until a restart."
            )
        return trail
