"""The fixed texts on which a converted model and its tokenizer are compared with the source."""

import torch
from torch import Tensor

from finetune.convert.source import Source

PROBE_TOKENS = 512  # a second of computing for the starter, and enough for a stable mean

PROBE_CODE = '''\
<script setup lang="ts">
import { computed, ref } from "vue"

const props = defineProps<{ items: { name: string; price: number }[] }>()
const query = ref("")
const found = computed(() => props.items.filter((item) => item.name.includes(query.value)))
const total = computed(() => found.value.reduce((sum, item) => sum + item.price, 0))
</script>

<template>
  <input v-model="query" placeholder="Search" />
  <ul>
    <li v-for="item in found" :key="item.name">{{ item.name }}: {{ item.price }}</li>
  </ul>
  <p v-if="found.length === 0">Nothing found.</p>
</template>

def binary_search(values: list[int], wanted: int) -> int:
    """The index of `wanted` in the sorted `values`, or -1."""
    low, high = 0, len(values) - 1
    while low <= high:
        middle = (low + high) // 2
        if values[middle] == wanted:
            return middle
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle - 1
    return -1

export async function loadOrders(customer: string, retries = 3): Promise<Order[]> {
  for (let attempt = 1; attempt <= retries; attempt++) {
    const response = await fetch(`/api/customers/${encodeURIComponent(customer)}/orders`)
    if (response.ok) {
      return (await response.json()) as Order[]
    }
    if (response.status === 404) {
      throw new Error(`no such customer: ${customer}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 200 * 2 ** attempt))
  }
  return []
}

func mergeIntervals(intervals [][2]int) [][2]int {
	sort.Slice(intervals, func(i, j int) bool { return intervals[i][0] < intervals[j][0] })
	merged := [][2]int{}
	for _, interval := range intervals {
		last := len(merged) - 1
		if last >= 0 && interval[0] <= merged[last][1] {
			merged[last][1] = max(merged[last][1], interval[1])
		} else {
			merged = append(merged, interval)
		}
	}
	return merged
}
'''

PROBE_TEXT = (
    PROBE_CODE
    + "\t\ttabs\t and   runs \u00a0 of\u3000space \n \n\n\r\n x\r\r\n    \t  end   "
    + "don't we'LL I'M 0 12 123 1234567 3.14e-10 0xFF ½ ² ٣٤ Ⅷ "
    + "naïve Straße ÅÅ cafe\u0301 e\u0301\u0302 Ω≈ç√∫ „quoted“ … — "
    + "日本語のテキスト 한국어 ไทย العربية עברית हिन्दी "
    + "😀👩‍👩‍👧🏽🇩🇪 \u200b\u2028\ufeff\x00\x07 ￾ "
    + "$_foo.bar?.[0]!==a=>{};//*** --> <!-- {{ }} #region @media ~/.config \\n \\u0041 __init__ "
    + "HTTPServer camelCase snake_case SCREAMING_CASE"
)
"""PROBE_CODE and text on which tokenizers differ: digits, spaces, contractions, marks, scripts, controls."""


def probe_ids(source: Source) -> Tensor:
    """Return int64 [T]: the first tokens of PROBE_CODE, or without a tokenizer evenly spread ids."""
    limit = min(PROBE_TOKENS, source.manifest.context_tokens)
    if source.tokenizer is None:
        return torch.linspace(0, source.config.vocab_size - 1, limit).long()
    return torch.tensor(source.tokenizer(PROBE_CODE, add_special_tokens=False).input_ids[:limit])
