"""Code samples, and what a runner of any library computes from them: greedy tokens and likelihoods."""

from collections.abc import Sequence

import numpy as np

from server.engine.scheduler.step import RowSlice, Runner

CODES = {
    "python": '''def fibonacci(count):
    """The first numbers of the sequence."""
    numbers = [0, 1]
    while len(numbers) < count:
        numbers.append(numbers[-1] + numbers[-2])
    return numbers[:count]


class Stack:
    def __init__(self):
        self.items = []

    def pop(self):
        if not self.items:
            raise IndexError("pop from an empty stack")
        return self.items.pop()
''',
    "typescript": """export interface Todo { id: number; title: string; done: boolean }

export function toggle(todos: Todo[], id: number): Todo[] {
  return todos.map((todo) => (todo.id === id ? { ...todo, done: !todo.done } : todo));
}

export async function load(url: string): Promise<Todo[]> {
  const response = await fetch(url);
  if (!response.ok) {
    throw new Error(`cannot load ${url}: ${response.status}`);
  }
  return (await response.json()) as Todo[];
}
""",
    "vue": """<template>
  <ul>
    <li v-for="item in items" :key="item.id" @click="$emit('select', item)">{{ item.name }}</li>
  </ul>
</template>

<script setup lang="ts">
import { computed } from 'vue'

const props = defineProps<{ items: { id: number; name: string }[] }>()
const total = computed(() => props.items.length)
</script>
""",
}


def greedy(runner: Runner, prompt: Sequence[int], count: int) -> list[int]:
    """Return the first `count` tokens after `prompt`, computed in row 0."""
    found = [int(runner.step([RowSlice(0, 0, list(prompt), 1)])[0].argmax())]
    while len(found) < count:
        row_slice = RowSlice(0, len(prompt) + len(found) - 1, found[-1:], 1)
        found.append(int(runner.step([row_slice])[0].argmax()))
    return found


def mean_log_likelihood(runner: Runner, texts: Sequence[Sequence[int]], step_tokens: int) -> float:
    """Return the mean natural-log likelihood per token of `texts`, read in steps of `step_tokens`."""
    found: list[float] = []
    for token_ids in texts:
        for start in range(0, len(token_ids) - 1, step_tokens):
            piece = list(token_ids[start : start + step_tokens])
            logits = runner.step([RowSlice(0, start, piece, len(piece))])
            following = token_ids[start + 1 : start + 1 + len(piece)]
            shifted = logits - logits.max(axis=1, keepdims=True)
            log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            found += [float(log_probs[at, token]) for at, token in enumerate(following)]
    return float(np.mean(found))
