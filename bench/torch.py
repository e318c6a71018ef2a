"""Time the torch engine's runner and transformers' `generate` in turns, on a CodeGen with random weights.

    python -m bench torch                               CodeGen-350M's shape, on this CPU
    python -m bench torch --dtype float32 --rounds 5
    python -m bench torch --threads 1 --cpu-time        on a machine that others use

Prints each pair, its ratio, and the machine's limit: a token reads every weight once, and a prompt multiplies
every weight with every token. On a busy machine only the CPU time of one thread can be compared. Each side
runs in a process of its own. `python -m bench gpu` measures a card.
"""

# torch and transformers are only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any

import torch
from transformers import CodeGenConfig, CodeGenForCausalLM

from bench.figures import describe, setting
from bench.limits import measure_machine
from server.engine.base import EngineOptions
from server.engine.scheduler.step import RowSlice
from server.engine.torch.codegen import ParallelDecoder
from server.engine.torch.engine import before_torch
from server.engine.torch.linear import WeightFormat
from server.engine.torch.runner import CPU_LIMITS, TorchRunner, make_runner
from server.engine.torch.weights import best_format, this_machine

SHAPES = {"350m": (1024, 20, 16, 32), "2.7b": (2560, 32, 32, 64), "6b": (4096, 33, 16, 64)}
"""Width, layers, heads and rotary dimensions of the published models."""


@dataclass(frozen=True)
class Timed:
    """Seconds to the first token, total seconds, and generated tokens."""

    first_s: float
    total_s: float
    tokens: list[int]

    @property
    def token_ms(self) -> float:
        return (self.total_s - self.first_s) / (len(self.tokens) - 1) * 1000

    def __str__(self) -> str:
        then = f"then {self.token_ms:6.1f} ms a token, in all {self.total_s:6.2f} s"
        return f"first token {self.first_s:6.2f} s, {then}"


def codegen_config(shape: str) -> CodeGenConfig:
    width, layers, heads, rotary = SHAPES[shape]
    return CodeGenConfig(n_embd=width, n_layer=layers, n_head=heads, rotary_dim=rotary, vocab_size=51200)


def random_codegen(shape: str, numbers: WeightFormat) -> Any:
    """Return a CodeGenForCausalLM with random weights on the device on which it is used."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(numbers.dtype)
    try:
        with numbers.device:
            return CodeGenForCausalLM(codegen_config(shape)).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)


def random_runner(model: Any, numbers: WeightFormat, options: EngineOptions) -> TorchRunner:
    """Return the torch engine's runner with the weights of `model`, a CodeGenForCausalLM."""
    decoder = ParallelDecoder(model.config, dict(model.named_parameters()), numbers)
    return make_runner(decoder, model.config, numbers, options)


def time_ours(
    runner: TorchRunner, prompt: list[int], tokens: int, clock: Callable[[], float], step_tokens: int
) -> Timed:
    """Time our runner, greedily. The last step of the prompt gives the first token."""
    began = clock()
    cut = (len(prompt) - 1) // step_tokens * step_tokens
    for start in range(0, cut, step_tokens):
        runner.step([RowSlice(0, start, prompt[start : start + step_tokens], 0)])
    found = [int(runner.step([RowSlice(0, cut, prompt[cut:], 1)])[0].argmax())]
    first_s = clock() - began
    while len(found) < tokens:
        logits = runner.step([RowSlice(0, len(prompt) + len(found) - 1, found[-1:], 1)])
        found.append(int(logits[0].argmax()))
    return Timed(first_s, clock() - began, found)


def time_transformers(model: Any, prompt: list[int], tokens: int, clock: Callable[[], float]) -> Timed:
    """Time `generate` twice, for one token and for all, since it does not report its first token."""
    ids = torch.tensor([prompt], device=model.device)

    def generate(count: int) -> tuple[float, list[int]]:
        began = clock()
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=count,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )
        found = out[0, len(prompt) :].tolist()  # waits for the card
        return clock() - began, found

    first_s, _ = generate(1)
    total_s, found = generate(tokens)
    return Timed(first_s, total_s, found)


def limits(numbers: WeightFormat, shape: str, prompt_tokens: int) -> str:
    """Return the lower bounds of both times on all cores, from the bandwidth and the rate measured now."""
    machine = measure_machine()
    with torch.device("meta"):
        model = CodeGenForCausalLM(codegen_config(shape))
    head = model.lm_head.weight.numel()
    layers = sum(weight.numel() for weight in model.transformer.h.parameters())
    weight_bytes = 1 if numbers.int8 else numbers.dtype.itemsize
    first_s = 2 * layers * prompt_tokens / machine.bf16
    token_ms = (layers + head) * weight_bytes / machine.read * 1000
    return (
        f"limits        first token {first_s:6.2f} s ({machine.bf16 / 1e9:.0f} GFLOP/s in bfloat16), then "
        f"{token_ms:6.1f} ms a token ({machine.read / 1e9:.0f} GB/s)"
    )


class Side:
    """One side in a process of its own, which `prepare` sets up. Its slow first run is not counted."""

    def __init__(self, prepare: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._process = ProcessPoolExecutor(1, spawn, initializer=prepare, initargs=(options,))
        self.time(list(range(options.prompt_tokens)))

    def time(self, prompt: list[int]) -> Timed:
        return self._process.submit(_time, prompt).result()


_timed: Callable[[list[int]], Timed]


def _time(prompt: list[int]) -> Timed:
    return _timed(prompt)


def prepare_ours(options: argparse.Namespace) -> None:
    global _timed
    torch.set_num_threads(options.threads)
    numbers = best_format(options.dtype, this_machine())
    runner = random_runner(random_codegen(options.shape, numbers), numbers, EngineOptions(max_streams=1))
    clock = clock_of(options)
    _timed = partial(time_ours, runner, tokens=options.tokens, clock=clock, step_tokens=CPU_LIMITS.tokens)


def prepare_transformers(options: argparse.Namespace) -> None:
    global _timed
    torch.set_num_threads(options.threads)
    model = random_codegen(options.shape, best_format(options.dtype, this_machine()))
    _timed = partial(time_transformers, model, tokens=options.tokens, clock=clock_of(options))


def clock_of(options: argparse.Namespace) -> Callable[[], float]:
    return time.process_time if options.cpu_time else time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="350m")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "int8"), default="auto")
    parser.add_argument("--prompt-tokens", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu-time", action="store_true", help="time of all threads, not wall time")
    options = parser.parse_args()
    numbers = best_format(options.dtype, this_machine())
    print(describe(setting()), f"\n{options.shape}, {numbers.dtype}, int8 weights: {numbers.int8}")
    print(limits(numbers, options.shape, options.prompt_tokens), flush=True)
    prompt = torch.randint(0, 50_000, (options.prompt_tokens,)).tolist()
    theirs = Side(prepare_transformers, options)
    before_torch()  # for our side only, as its worker does
    ours = Side(prepare_ours, options)
    ratios: list[float] = []
    for _ in range(options.rounds):
        peer, mine = theirs.time(prompt), ours.time(prompt)
        ratios.append(mine.total_s / peer.total_s)
        print(f"transformers  {peer}\nours          {mine}\nratio {ratios[-1]:.3f}", flush=True)
        print(
            f"the first {agreed(mine.tokens, peer.tokens)} of {options.tokens} tokens are the same",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.3f}")


def agreed(first: list[int], second: list[int]) -> int:
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=True))))


if __name__ == "__main__":
    main()
