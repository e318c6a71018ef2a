"""Which replica has seen a prompt's beginning, and so has it in its KV cache; for replicas.py."""

from collections import OrderedDict

BLOCK_CHARS = 256
"""About five blocks of vLLM's cache, which keeps 16 tokens each: what is lost at the end is little."""

REMEMBERED = 65_536
"""Blocks: some 4,000 documents at the default prompt budget, and a few megabytes."""


class PrefixMemory:
    """Hashes of prompts' beginnings, by blocks, with the replica that got each last. No text is kept."""

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._capacity = capacity
        self._replicas: OrderedDict[int, str] = OrderedDict()

    def shares(self, prompt: str) -> dict[str, float]:
        """Replica -> how much of the prompt it has from its beginning on, 0 to 1. Others have nothing."""
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
    """A hash of each whole number of blocks from the start; a block's hash holds all those before it."""
    hashes: list[int] = []
    known = 0
    for end in range(BLOCK_CHARS, len(prompt) + 1, BLOCK_CHARS):
        known = hash((known, prompt[end - BLOCK_CHARS : end]))
        hashes.append(known)
    return hashes
