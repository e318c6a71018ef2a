"""Time the torch engine's runner on a CUDA card beside transformers' `generate`: CodeGen 2.7B and 6B.

    python -m bench gpu                                 what `make bench-gpu` runs
    python -m bench gpu --shape 2.7b --dtype int8 --prompt-tokens 1500

Weights are random, so nothing is fetched. transformers runs first, alone on the card; the runner then takes
over its weights. Prints the time to the first token, the tokens per second of 1, 4 and 16 streams, the
memory, and the share of the card's memory bandwidth that one stream's tokens use.
"""

# torch and transformers are only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import argparse
import time

import torch

from bench.figures import describe, setting
from bench.torch import SHAPES, random_codegen, random_runner, time_ours, time_transformers
from server.engine.base import EngineOptions
from server.engine.scheduler.step import RowSlice
from server.engine.torch.linear import WeightFormat
from server.engine.torch.runner import CUDA_LIMITS, TorchRunner
from server.engine.torch.weights import best_format, this_machine

STREAMS = (1, 4, 16)
KV_CACHE_GB = 16
GIB = 1 << 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", action="append", choices=SHAPES, help="repeatable (default: 2.7b and 6b)")
    parser.add_argument("--dtype", choices=("auto", "float16", "bfloat16", "int8"), default="auto")
    parser.add_argument("--prompt-tokens", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("This machine has no CUDA card: `python -m bench torch` measures the CPU.")
    card = torch.cuda.get_device_properties(0)
    numbers = best_format(options.dtype, this_machine())
    read = read_bytes_a_second()
    print(describe(setting()))
    print(
        f"{card.name}, {card.total_memory / GIB:.0f} GB, read at {read / 1e9:.0f} GB/s, {numbers}", flush=True
    )
    for shape in options.shape or ("2.7b", "6b"):
        bench(shape, numbers, options.prompt_tokens, options.tokens, read)
        torch.cuda.empty_cache()


def bench(shape: str, numbers: WeightFormat, prompt_tokens: int, tokens: int, read: float) -> None:
    prompt = torch.randint(0, 50_000, (prompt_tokens,)).tolist()
    torch.cuda.reset_peak_memory_stats()
    model = random_codegen(shape, numbers)
    weights = sum(weight.numel() for weight in model.parameters()) - model.transformer.wte.weight.numel()
    time_transformers(model, prompt, 2, time.perf_counter)
    peer = time_transformers(model, prompt, tokens, time.perf_counter)
    print(f"\n{shape}: {prompt_tokens} prompt tokens, {tokens} generated")
    print(f"transformers  {peer}, peak {torch.cuda.max_memory_allocated() / GIB:.1f} GB", flush=True)
    runner = random_runner(model, numbers, EngineOptions(kv_cache_gb=KV_CACHE_GB, max_streams=max(STREAMS)))
    del model
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    time_ours(runner, prompt, tokens, time.perf_counter, CUDA_LIMITS.tokens)  # captures
    mine = time_ours(runner, prompt, tokens, time.perf_counter, CUDA_LIMITS.tokens)
    weight_bytes = weights * (1 if numbers.int8 else numbers.dtype.itemsize)
    print(f"ours          {mine}, peak {torch.cuda.max_memory_allocated() / GIB:.1f} GB")
    used = weight_bytes / (mine.token_ms / 1000) / read
    print(f"ratio {mine.total_s / peer.total_s:.2f}; one stream uses {used:.0%} of the bandwidth")
    for streams in STREAMS:
        if streams <= runner.slots:
            print(
                f"{streams:3} streams: {tokens_a_second(runner, streams, prompt, tokens):7.0f} tokens/s",
                flush=True,
            )


def tokens_a_second(runner: TorchRunner, streams: int, prompt: list[int], tokens: int) -> float:
    """Return the tokens per second of all streams together, after their prompts are read and the graph is
    captured.
    """
    for slot in range(streams):
        runner.step([RowSlice(slot, 0, prompt, 0)])
    began = 0.0
    for at in range(-2, tokens):
        if at == 0:
            began = time.perf_counter()
        runner.step([RowSlice(slot, len(prompt) + 2 + at, [slot], 1) for slot in range(streams)])
    return streams * tokens / (time.perf_counter() - began)


def read_bytes_a_second() -> float:
    """Return the card's memory bandwidth, measured by summing half a gigabyte."""
    numbers = torch.ones(GIB // 8, device="cuda")
    numbers.sum().item()
    began = time.perf_counter()
    for _ in range(20):
        numbers.sum()
    torch.cuda.synchronize()
    return 20 * numbers.nbytes / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
