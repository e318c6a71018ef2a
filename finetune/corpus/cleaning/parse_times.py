"""Limit the CPU time for parses of one file and of one source, and remember the files that took too long.

Honest files take milliseconds, but the time for deeply nested markup grows with the square of its size: hours
for a megabyte. A source may hold thousands of such files, and copies of each.
"""

import hashlib
import time
from collections import defaultdict

from tree_sitter import Node

from acepilot.languages import Language
from acepilot.syntax import parse
from finetune.corpus.cleaning.vue_blocks import PARSE_CPU_S, Block, blocks_below

SLOW_CPU_S = 1.0  # for a file; an honest megabyte takes less
SOURCE_SLOW_CPU_S = 60.0
"""For the slow files of one source together. After that, each of its files has SLOW_CPU_S instead of
PARSE_CPU_S."""


class ParseTimes:
    """The parses of one task, which reads one file after the other."""

    def __init__(self) -> None:
        self._too_slow: set[bytes] = set()  # SHA-256 of files
        self._slow_s = defaultdict[str, float](float)  # CPU seconds that slow files of each source took
        self._file = b""
        self._spent_s = 0.0
        self._blocks: list[Block] | None = None

    def begin(self, text: str) -> None:
        """Say which file the next parses are for. Calls for the same text continue with its time."""
        file = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        if file != self._file:
            self._file, self._spent_s, self._blocks = file, 0.0, None

    def parse(self, text: str, language: Language, source: str) -> Node | None:
        """Parse all or a part of the file. None if the language has no grammar.

        Raises TimeoutError when the file has taken its time, or a copy of it has.
        """
        if self._file in self._too_slow:
            raise TimeoutError
        limit = PARSE_CPU_S if self._slow_s[source] < SOURCE_SLOW_CPU_S else SLOW_CPU_S
        before = self._spent_s
        began = time.thread_time()
        root = parse(text, language, limit - before)
        self._spent_s += time.thread_time() - began
        if self._spent_s > SLOW_CPU_S:
            self._slow_s[source] += self._spent_s - (before if before > SLOW_CPU_S else 0)
        if self._spent_s > limit:
            self._too_slow.add(self._file)
            raise TimeoutError
        return root

    def blocks(self, component: str, language: Language, source: str) -> list[Block]:
        """Return the blocks of the file, a Vue component; they are found once. Raises TimeoutError."""
        if self._blocks is None:
            root = self.parse(component, language, source)
            self._blocks = blocks_below(root, component) if root else []
        return self._blocks
