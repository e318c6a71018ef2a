"""Remembers which replica received a prompt's beginning, and so has it in its KV cache."""

from collections import OrderedDict

BLOCK_CHARS = 256
"""Characters in a block, about five of vLLM's cache blocks of 16 tokens: little is lost at a prompt's end."""

REMEMBERED = 65_536
"""Blocks to remember: some 4,000 documents at the default prompt budget, in a few megabytes."""


class PrefixMemory:
    """The replica that received each prompt's beginning last, by hashes of its blocks; it keeps no text."""

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._capacity = capacity
        self._replicas: OrderedDict[int, str] = OrderedDict()

    def shares(self, prompt: str) -> dict[str, float]:
        """Return the share of the prompt, from its beginning, of each replica that has some of it."""
        found: dict[str, int] = {}
        hashes = _beginnings(prompt)
        for number, beginning in enumerate(hashes, start=1):
            replica = self._replicas.get(beginning)
            if replica is None:
                break
            found[replica] = number
        return {replica: blocks / len(hashes) for replica, blocks in found.items()}

    def remember(self, prompt: str, replica: str) -> None:
        for beginning in _beginnings(prompt):
            self._replicas[beginning] = replica
            self._replicas.move_to_end(beginning)
        while len(self._replicas) > self._capacity:
            self._replicas.popitem(last=False)


def _beginnings(prompt: str) -> list[int]:
    """Return a hash of the prompt's first block, of its first two, and so on. A partial block has none."""
    hashes: list[int] = []
    known = 0
    for end in range(BLOCK_CHARS, len(prompt) + 1, BLOCK_CHARS):
        known = hash((known, prompt[end - BLOCK_CHARS : end]))
        hashes.append(known)
    return hashes
