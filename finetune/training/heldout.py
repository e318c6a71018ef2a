"""Held-out loss by language, taken by train.py while it trains: the first sign of forgetting."""

from typing import Any

import torch
from deepspeed import comm

from finetune.training.batches import Rows
from finetune.training.launch import all_reduced

ALL = "all"


def held_out_losses(
    engine: Any, rows: Rows, chosen: dict[str, list[int]], device: torch.device
) -> dict[str, float]:
    """Mean loss a token of each language and of `all`, nats. Each process takes every so manieth row."""
    rank, world_size = comm.get_rank(), comm.get_world_size()
    languages = list(chosen)
    sums = [0.0] * (2 * len(languages))
    engine.eval()
    with torch.no_grad():
        for number, language in enumerate(languages):
            indices = chosen[language]
            # ZeRO-3 wants as many forwards on every process: the last ones are repeats that do not count
            for turn in range(-(-len(indices) // world_size)):
                place = turn * world_size + rank
                batch = rows.batch([indices[min(place, len(indices) - 1)]]).to(device)
                total, tokens = engine(batch.input_ids, batch.position_ids, batch.labels)
                if place < len(indices):
                    sums[2 * number] += float(total)
                    sums[2 * number + 1] += float(tokens)
    engine.train()
    sums = all_reduced(sums, device)
    losses = {name: sums[2 * at] / max(sums[2 * at + 1], 1.0) for at, name in enumerate(languages)}
    return {ALL: sum(sums[::2]) / max(sum(sums[1::2]), 1.0), **losses}
