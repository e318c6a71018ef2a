"""What every export must pass: its logits over fixed code against the source's.

Both models run streamed: each module's weights are read just before it computes and let go after, so that a
check in float32 of the whole model needs memory for its largest tensor only.
"""

# torch and transformers are typed only in part; the tests check how they are used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM

from acepilot.errors import AcepilotError
from finetune.convert.source import Source

PROBE_TOKENS = 512

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
"""Some code, and what tokenizers disagree on: digits, white space, contractions, marks, scripts, controls."""


class CheckFailed(AcepilotError):
    """What was written does not say what its source says."""

    code = "export_check_failed"
    status = 500


@dataclass(frozen=True)
class Figures:
    """`source` and `written`: mean natural-log probability of a token of the fixed code. `noise`: the logits'
    differences against the source's logits, root mean squares both, the mean of each position left out.
    `layers`: how many of the model's were compared; None: all."""

    tokens: int
    source: float
    written: float
    noise: float
    layers: int | None = None

    @property
    def shift(self) -> float:
        """By how much the mean log probability changed, as a share of it."""
        return abs(self.written - self.source) / abs(self.source)

    def told(self) -> str:
        text = (
            f"Mean log probability of {self.tokens} tokens: {self.source:.4f} before, "
            f"{self.written:.4f} after ({100 * self.shift:.2f} % off). "
        )
        if self.noise == 0:
            text += "All logits are equal to the last bit."
        else:
            text += f"The logits differ by {100 * self.noise:.2g} % of their spread."
        if self.layers is not None:
            text += f" Memory was enough to compare the first {self.layers} layers only."
        return text


@dataclass(frozen=True)
class Tolerance:
    """What `Figures` may be at most. A model that was not trained guesses as badly after any mistake as
    before: only its noise tells."""

    shift: float
    noise: float


def compare(source: Tensor, written: Tensor, ids: Tensor, layers: int | None = None) -> Figures:
    """float32 [T, V] logits of both at int64 [T]."""
    difference = source - written
    return Figures(
        tokens=len(ids) - 1,
        source=mean_log_probability(source, ids),
        written=mean_log_probability(written, ids),
        noise=float(_spread(difference) / _spread(source)) if difference.any() else 0.0,
        layers=layers,
    )


def accept(
    figures: Figures,
    allowed: Tolerance,
    what: str,
    advice: str = "Please report it: this is a mistake of ours.",
) -> Figures:
    """`figures`, or CheckFailed where they are more than allowed, or no numbers."""
    if not (figures.shift <= allowed.shift and figures.noise <= allowed.noise):
        raise CheckFailed(f"{what} says something else than its source. {figures.told()} {advice}")
    return figures


def _spread(logits: Tensor) -> Tensor:
    """Adding the same to all logits of a position changes no probability."""
    return (logits - logits.mean(-1, keepdim=True)).square().mean().sqrt()


def mean_log_probability(logits: Tensor, ids: Tensor) -> float:
    """float [T, V], int64 [T] -> natural log, of each token after those before it."""
    return -float(functional.cross_entropy(logits[:-1].float(), ids[1:]))


def probe_ids(source: Source) -> Tensor:
    """Return int64 [T]: the fixed code's first tokens; without a tokenizer, ids from the whole vocabulary."""
    most = min(PROBE_TOKENS, source.manifest.context_tokens)
    if source.tokenizer is None:
        return torch.linspace(0, source.config.vocab_size - 1, most).long()
    return torch.tensor(source.tokenizer(PROBE_CODE, add_special_tokens=False).input_ids[:most])


def check_tokenizer(
    source: Any, cut: Callable[[str], list[int]], probe: str = PROBE_TEXT, *, with_marks: bool = False
) -> None:
    """Raises CheckFailed when `cut`, the written tokenizer, gives other ids than the source's: for `probe`,
    whole and line by line, and for each special token within a text. `with_marks`: with those tokens that
    are put around a text by themselves."""
    lines = probe.splitlines(keepends=True)
    for text in (probe, *lines, *(f"a{token} b" for token in source.get_added_vocab())):
        if cut(text) != source(text, add_special_tokens=with_marks).input_ids:
            raise CheckFailed(
                f"The tokenizer that was written cuts {text[:60]!r} into other tokens than the source's: "
                "this tokenizer cannot be exported to this form."
            )


def cut_by(tokenizer: Any) -> Callable[[str], list[int]]:
    """By one of transformers' tokenizers, without the marks that it puts around a text."""
    return lambda text: tokenizer(text, add_special_tokens=False).input_ids


@torch.inference_mode()
def streamed_logits(config: Any, weights: Mapping[str, Tensor], ids: Tensor) -> Tensor:
    """int64 [T] -> float32 [T, V], computed in float32 by transformers' model of `config`."""
    model = empty_model(config)
    stored_names = {id(weight): name for name, weight in model.named_parameters()}  # of tied ones, the first
    for module in model.modules():
        names = {own: stored_names[id(weight)] for own, weight in module.named_parameters(recurse=False)}
        if names:
            _stream(module, names, weights)
    return model(input_ids=ids[None], use_cache=False).logits[0].float()


def empty_model(config: Any) -> Any:
    """Its parameters hold no memory; its buffers, which no file keeps, hold their numbers."""
    with init_empty_weights(include_buffers=False):
        # a copy, as a model writes into its config
        model: Any = AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=torch.float32)
    model.tie_weights()
    return model.eval()


def _stream(module: nn.Module, names: dict[str, str], weights: Mapping[str, Tensor]) -> None:
    empty = dict(module.named_parameters(recurse=False))

    def load(*_: Any) -> None:
        for own, stored in names.items():
            setattr(module, own, nn.Parameter(weights[stored].float(), requires_grad=False))

    def unload(*_: Any) -> None:
        for own, parameter in empty.items():
            setattr(module, own, parameter)

    module.register_forward_pre_hook(load)
    module.register_forward_hook(unload)
