"""Profile one token in the openvino engine, by kind of node.

    python -m bench profile
    python -m bench profile --threads 1 --kept-tokens 1500

One sequence has the given number of tokens in the KV cache, then generates 80 tokens one by one. OpenVINO
counts the time of each node since the model was compiled; the prompt's share is subtracted. Beside it stands
the time to read the weights at the bandwidth measured in the same run. Run it on an idle machine.
"""

# openvino is only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

import argparse
import random
import statistics
import sys
import time
from collections import defaultdict

from acepilot.cli import program
from acepilot.models.resolve import resolve
from bench.figures import describe, setting
from bench.limits import measure_machine, model_needs
from server.engine.base import EngineOptions
from server.engine.openvino.model_files import prepared_folder
from server.engine.openvino.runner import OpenVinoRunner
from server.engine.scheduler.step import RowSlice

STEPS = 80
PROMPT_STEP_TOKENS = 256
"""Prompt tokens in a step: as many as in the engine."""


class CountingRunner(OpenVinoRunner):
    """Count steps, since OpenVINO's times are means over all of them."""

    steps = 0

    def total_ms(self) -> dict[tuple[str, str], float]:
        """Return the time of all steps so far, by the node's type and kernel."""
        total: dict[tuple[str, str], float] = defaultdict(float)
        for node in self.request.profiling_info:
            total[node.node_type, node.exec_type] += node.real_time.total_seconds() * 1000 * self.steps
        return total

    def timed_ms(self, row_slice: RowSlice) -> float:
        self.steps += 1
        began = time.perf_counter()
        self.step([row_slice])
        return (time.perf_counter() - began) * 1000


@program()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--kept-tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    options = parser.parse_args()
    print(describe(setting()), flush=True)
    model = resolve(options.model)
    if model.gguf is None:
        parser.error("--model: one that is a GGUF file")
    runner = CountingRunner(
        prepared_folder(model),
        EngineOptions(threads=options.threads),
        most_row_tokens=8192,
        PERF_COUNT="YES",
    )
    tokens = random.Random(0).choices(range(1000, 50_000), k=options.kept_tokens + STEPS)
    for start in range(0, options.kept_tokens, PROMPT_STEP_TOKENS):
        runner.timed_ms(
            RowSlice(0, start, tokens[start : min(start + PROMPT_STEP_TOKENS, options.kept_tokens)], 1)
        )
    before = runner.total_ms()
    steps = [
        runner.timed_ms(RowSlice(0, at, tokens[at : at + 1], 1))
        for at in range(options.kept_tokens, options.kept_tokens + STEPS)
    ]
    after = runner.total_ms()
    parts = {kind: (after[kind] - before[kind]) / STEPS for kind in after}
    print(f"a token with {options.kept_tokens} before it: {statistics.mean(steps):.1f} ms")
    for (node, kernel), ms in sorted(parts.items(), key=lambda part: -part[1])[:6]:
        print(f"  {ms:5.1f} ms  {node} ({kernel})")
    print(f"  {statistics.mean(steps) - sum(parts.values()):5.1f} ms  outside the nodes")
    read = measure_machine().read
    weights = model_needs(model.gguf).token_bytes
    print(
        f"reading {weights / 1e6:.0f} MB of weights at {read / 1e9:.0f} GB/s: {weights / read * 1000:.1f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
