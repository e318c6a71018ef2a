"""The torch engine's runner computes what transformers computes, however a prompt is cut and batched."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from acepilot.registry import ModelFolder
from server.engine.base import EngineOptions
from server.engine.torch_model import TorchRunner, open_runner
from server.engine.torch_step import Chunk
from tests.server.torch_models import CONFIGS, VOCABULARY, tiny_folder

OPTIONS = EngineOptions(dtype="float32", max_streams=3, threads=1)
NEW_TOKENS = 24


def random_prompt(tokens: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCABULARY, (tokens,), generator=generator).tolist()


def generated(runner: TorchRunner, prompt: list[int], tokens: int, slot: int = 0) -> list[int]:
    """Greedy, one token a step."""
    logits = runner.step([Chunk(slot, 0, prompt, 1)])
    found = [int(logits[0].argmax())]
    while len(found) < tokens:
        logits = runner.step([Chunk(slot, len(prompt) + len(found) - 1, found[-1:], 1)])
        found.append(int(logits[0].argmax()))
    return found


def transformers_generated(folder: ModelFolder, prompt: list[int], tokens: int) -> list[int]:
    model: Any = AutoModelForCausalLM.from_pretrained(folder.path, dtype=torch.float32)
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return out[0, len(prompt) :].tolist()


@pytest.mark.parametrize("family", CONFIGS)
def test_greedy_equals_transformers(family: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, family)
    runner = open_runner(folder, OPTIONS).runner
    prompt = random_prompt(60)
    assert generated(runner, prompt, NEW_TOKENS) == transformers_generated(folder, prompt, NEW_TOKENS)
