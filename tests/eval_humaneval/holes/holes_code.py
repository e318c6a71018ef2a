"""Small source files for the tests of holes."""

from pathlib import Path

STOCK = '''# Copyright 2024 The Stock Authors. All rights reserved, and so on and so forth.
"""What is in stock: a docstring that nobody should have to guess."""

import json
from pathlib import Path


def load_stock(path: Path) -> dict[str, int]:
    # a comment, which is prose
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text)
    return {row["name"]: row["count"] for row in rows}


def missing_items(stock: dict[str, int], wanted: dict[str, int]) -> list[str]:
    found = []
    for name, count in wanted.items():
        have = stock.get(name, 0)
        if have < count:
            found.append(name)
    print("done")
    print("done")
    return sorted(found)
'''

COUNTER = """<script setup lang="ts">
import { computed, ref } from 'vue'

const props = defineProps<{ start: number; step: number }>()
const count = ref(props.start)
const doubled = computed(() => count.value * 2)

function add(times: number) {
  const change = props.step * times
  count.value = count.value + change
}
</script>

<template>
  <section class="counter">
    <button :disabled="count > 9" @click="add(props.step)">
      <b v-if="doubled > 4">{{ doubled + props.step }}</b>
      <i v-else>é 漢 {{ count }}</i>
    </button>
  </section>
</template>

<style scoped>
.counter {
  margin: 0 auto;
  border: 1px solid var(--line-color);
}
</style>
"""

QUEUE = """package queue

import "errors"

// Queue is first in, first out.
type Queue struct {
\titems []string
\tlimit int
}

func (q *Queue) Push(item string) error {
\tif len(q.items) >= q.limit {
\t\treturn errors.New("full")
\t}
\tq.items = append(q.items, item)
\treturn nil
}

func (q *Queue) Pop() (string, error) {
\tif q.Empty() {
\t\treturn "", errors.New("empty")
\t}
\tfirst := q.items[0]
\tq.items = q.items[1:]
\treturn first, nil
}
"""


def repository(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def module(number: int) -> str:
    """Return a Python file that differs for each `number`."""
    return "".join(
        f"def step_{number}_{at}(value_{at}, other):\n"
        f"    total_{at} = value_{at} + other * {number}\n"
        f"    if total_{at} > {at}:\n"
        f"        report_{number}(total_{at}, other)\n"
        f"    return total_{at} - {at}\n\n\n"
        for at in range(6)
    )
