"""The memory of which replica has which prompt's beginning."""

from server.engine.upstream.replicas import BLOCK_CHARS, PrefixMemory


def test_prefixes_are_kept_by_blocks_and_the_longest_wins() -> None:
    memory = PrefixMemory()
    memory.remember("a" * BLOCK_CHARS + "b" * BLOCK_CHARS, "one")
    memory.remember("a" * BLOCK_CHARS + "c" * BLOCK_CHARS, "two")
    assert memory.shares("a" * BLOCK_CHARS + "b" * BLOCK_CHARS + "typed") == {"two": 0.5, "one": 1.0}
    assert memory.shares("a" * BLOCK_CHARS + "d" * BLOCK_CHARS * 3) == {"two": 0.25}
    assert memory.shares("x" + "a" * BLOCK_CHARS) == {}
    assert memory.shares("short") == {}


def test_prefixes_forget_the_oldest() -> None:
    memory = PrefixMemory(capacity=2)
    for text in "abc":
        memory.remember(text * BLOCK_CHARS, text)
    assert memory.shares("a" * BLOCK_CHARS) == {}
    assert memory.shares("c" * BLOCK_CHARS) == {"c": 1.0}
