"""The torch engine's runner on real weights: greedy text as transformers writes it, and what int8 costs."""

import copy
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from acepilot.registry import is_whole, resolve
from server.engine.base import EngineOptions
from server.engine.step import Chunk
from server.engine.torch_linear import Numbers
from server.engine.torch_model import TorchRunner, make_runner
from server.engine.torch_weights import load_pretrained

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
INT8_LOSS = 0.02
FLOAT32 = Numbers(torch.device("cpu"), torch.float32)


@dataclass(frozen=True)
class Starter:
    model: Any
    tokenizer: Any

    def runner(self, numbers: Numbers) -> TorchRunner:
        model = copy.deepcopy(self.model).to(numbers.dtype)
        return make_runner(model, numbers, EngineOptions(max_streams=1))


@pytest.fixture(scope="module", params=["starter-tiny", pytest.param("starter", marks=pytest.mark.slow)])
def starter(request: pytest.FixtureRequest) -> Iterator[Starter]:
    """One thread: several wait for each other where other tests run beside them."""
    if not is_whole(request.param):
        pytest.skip(f"{request.param} is not here: python scripts/fetch_model.py {request.param}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Starter(*load_pretrained(resolve(request.param), torch.float32))
    torch.set_num_threads(threads)


def test_greedy_equals_transformers(starter: Starter) -> None:
    prompt = starter.tokenizer(CODES["python"])["input_ids"]
    ids = torch.tensor([prompt])
    out = starter.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, min_new_tokens=24, do_sample=False,
        eos_token_id=None, pad_token_id=0, repetition_penalty=1.0,
    )  # fmt: skip
    runner = starter.runner(FLOAT32)
    found = [int(runner.step([Chunk(0, 0, prompt, 1)])[0].argmax())]
    while len(found) < 24:
        chunk = Chunk(0, len(prompt) + len(found) - 1, found[-1:], 1)
        found.append(int(runner.step([chunk])[0].argmax()))
    assert found == out[0, len(prompt) :].tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_int8_weights_keep_the_likelihood_of_code(starter: Starter, dtype: torch.dtype) -> None:
    exact = mean_log_likelihood(starter, FLOAT32, step_tokens=1000)
    rounded = dataclasses.replace(FLOAT32, dtype=dtype, int8=True)
    for step_tokens in (1000, 16):  # each has a way of its own through the weights
        assert mean_log_likelihood(starter, rounded, step_tokens) == pytest.approx(exact, rel=INT8_LOSS)


def test_bfloat16_keeps_the_likelihood_of_code(starter: Starter) -> None:
    exact = mean_log_likelihood(starter, FLOAT32, step_tokens=1000)
    half = dataclasses.replace(FLOAT32, dtype=torch.bfloat16)
    for step_tokens in (1000, 64, 16):
        assert mean_log_likelihood(starter, half, step_tokens) == pytest.approx(exact, rel=INT8_LOSS / 2)


def mean_log_likelihood(starter: Starter, numbers: Numbers, step_tokens: int) -> float:
    """Natural, a token, over CODES; read in steps of so many tokens."""
    runner = starter.runner(numbers)
    found: list[float] = []
    for code in CODES.values():
        token_ids: list[int] = starter.tokenizer(code)["input_ids"]
        for start in range(0, len(token_ids) - 1, step_tokens):
            piece = token_ids[start : start + step_tokens]
            logits = runner.step([Chunk(0, start, piece, len(piece))])
            following = token_ids[start + 1 : start + 1 + len(piece)]
            shifted = logits - logits.max(axis=1, keepdims=True)
            log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            found += [float(log_probs[at, token]) for at, token in enumerate(following)]
    return float(np.mean(found))
