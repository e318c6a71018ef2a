"""Small hand-written repositories for the tests of scraping and of the corpus."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

from acepilot.corpus import CorpusManifest
from finetune.corpus.build import build
from finetune.corpus.executors import Runner
from finetune.corpus.options import BuildOptions
from finetune.corpus.tables import read_rows

MIT = """MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy of this software, to deal in the
Software without restriction.
"""

COUNTER = """<script setup lang="ts">
import { computed, ref } from 'vue'

const props = defineProps<{ start: number; label: string }>()
const count = ref(props.start)
const doubled = computed(() => count.value * 2)
</script>

<template>
  <button class="counter" :title="label" @click="count++">{{ label }}: {{ count }} ({{ doubled }})</button>
</template>

<style scoped lang="scss">
.counter {
  color: teal;
  &:hover { color: black; }
}
</style>
"""

TOTALS = '''"""Sums of orders."""


def total(orders: list[dict[str, float]], discount: float = 0.0) -> float:
    """The price of all orders, after a discount in [0, 1]."""
    return sum(order["price"] * order["count"] for order in orders) * (1 - discount)
'''

CLIENT = """export interface Order { id: number; price: number }

export async function fetchOrders(base: string, customer: number): Promise<Order[]> {
  const response = await fetch(`${base}/customers/${customer}/orders`)
  if (!response.ok) throw new Error(`orders: ${response.status}`)
  return response.json()
}
"""

Files = dict[str, str | bytes]


def write_files(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def repository(name: str) -> Files:
    """Return a small shop with its own identifiers, so that no two repositories are near-duplicates."""
    files: Files = {
        "LICENSE": MIT,
        "src/Counter.vue": COUNTER,
        "src/orders.ts": CLIENT,
        "lib/totals.py": TOTALS,
    }
    for path in ("src/Counter.vue", "src/orders.ts", "lib/totals.py"):
        text = str(files[path])
        for word in ("counter", "count", "order", "price", "label", "total", "discount", "customer", "start"):
            text = text.replace(word, f"{word}{name}").replace(word.title(), f"{word.title()}{name.title()}")
        files[path] = text
    return files


SHOPS: dict[str, Files] = {name: repository(name) for name in ("alpha", "beta", "gamma")}


Scraped = Callable[[dict[str, Files]], Path]


def build_here(options: BuildOptions, out: Path, workers: int = 1) -> CorpusManifest:
    return build(options, out, lambda logs: Runner(logs, workers=workers), log=lambda _: None)


def write_jsonl(path: Path, records: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def write_byte_model(folder: Path, rows: int) -> Path:
    """Write a byte tokenizer, and a config with `rows` embedding rows: what a corpus needs of a model."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(vocab={symbol: number for number, symbol in enumerate(alphabet)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens(["<|endoftext|>"])
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_files(
        folder,
        {
            "config.json": json.dumps({"vocab_size": rows}),
            "tokenizer_config.json": json.dumps(
                {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
            ),
        },
    )
    return folder


def rows(corpus: Path, split: str = "*", table: str = "documents") -> list[dict[str, Any]]:
    """Return the rows of a corpus's table."""
    return [row for path in sorted((corpus / table).glob(f"{split}/*.parquet")) for row in read_rows(path)]
