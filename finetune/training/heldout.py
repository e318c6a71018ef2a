"""Held-out loss by language, which train.py computes during training: the first sign of forgetting."""

from typing import Any

import torch
from deepspeed import comm

from finetune.training.batches import Rows
from finetune.training.launch import all_reduced

ALL = "all"


def held_out_losses(
    engine: Any, rows: Rows, chosen: dict[str, list[int]], device: torch.device
) -> dict[str, float]:
    """Return the mean loss in nats a token of each language and of `all`.

    `chosen` has the row indices of each language. Process r of n computes rows r, r + n, r + 2n ...
    """
    rank, world_size = comm.get_rank(), comm.get_world_size()
    languages = list(chosen)
    sums = [0.0] * (2 * len(languages))
    engine.eval()
    with torch.no_grad():
        for number, language in enumerate(languages):
            indices = chosen[language]
            # ZeRO-3 needs the same number of forward passes on every process: a process without a row of its
            # own repeats the last row and does not count it.
            for start in range(0, len(indices), world_size):
                index = start + rank
                batch = rows.batch([indices[min(index, len(indices) - 1)]]).to(device)
                total, tokens = engine(batch.input_ids, batch.position_ids, batch.labels)
                if index < len(indices):
                    sums[2 * number] += float(total)
                    sums[2 * number + 1] += float(tokens)
    engine.train()
    sums = all_reduced(sums, device)
    losses = {name: sums[2 * at] / max(sums[2 * at + 1], 1.0) for at, name in enumerate(languages)}
    return {ALL: sum(sums[::2]) / max(sum(sums[1::2]), 1.0), **losses}
