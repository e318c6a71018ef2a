"""Measure useful tokens per second: our packed rows and fused attention against transformers' Trainer with
padding.

    python -m bench train [--steps 4] [--rounds 2] [--sequence-tokens 1024] [--threads N]

Both train the same random CodeGen in float32 with AdamW on the same documents, this repository's files, cut
at the same length. The Trainer pads each batch to its longest document. A useful token is one that the loss
counts. The rounds alternate, so that a busy machine slows both, and the best of each counts.
"""

# torch and transformers are only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import argparse
import os
import platform
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

import deepspeed
import transformers
from rich.console import Console
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CodeGenConfig,
    CodeGenForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from acepilot.corpus import NO_LOSS
from finetune.modeling.base_model import base_folder
from finetune.modeling.loss_model import load_model
from finetune.modeling.tiny import pack
from finetune.training.batches import Batch
from finetune.training.config import TrainConfig
from finetune.training.launch import deepspeed_config, join_processes

ROOT = Path(__file__).resolve().parent.parent
PATTERNS = (
    "acepilot/**/*.py",
    "server/**/*.py",
    "lsp/**/*.py",
    "finetune/**/*.py",
    "tests/**/*.py",
    "docs/*.md",
)
DOCUMENTS_A_STEP = 4
WARM_STEPS = 1


def documents(most_tokens: int) -> list[list[int]]:
    """Return the token ids of this repository's files; files longer than `most_tokens` are split."""
    tokenizer = AutoTokenizer.from_pretrained(base_folder("starter-tiny"), trust_remote_code=False)
    found: list[list[int]] = []
    for path in sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern)):
        ids: list[int] = tokenizer.encode(path.read_text(encoding="utf-8"))
        found += [ids[at : at + most_tokens] for at in range(0, len(ids), most_tokens)]
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0)).tolist()
    return [found[index] for index in order if len(found[index]) > 1]


def make_model(folder: Path, tokens: int) -> None:
    torch.manual_seed(0)
    config = CodeGenConfig(
        vocab_size=49_152, n_positions=tokens, n_ctx=tokens, n_embd=256, n_layer=6, n_head=8, rotary_dim=32,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    CodeGenForCausalLM(config).save_pretrained(folder)


class Clock(TrainerCallback):
    """Time the Trainer's steps after the warm ones, and count the tokens in its batches."""

    def __init__(self) -> None:
        self.started = self.seconds = 0.0
        self.useful = self.computed = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == WARM_STEPS:
            self.started, self.useful, self.computed = time.perf_counter(), 0, 0
        self.seconds = time.perf_counter() - self.started


def padded_speed(folder: Path, texts: list[list[int]], steps: int) -> tuple[float, float]:
    """Return the Trainer's useful tokens per second, and the share of its tokens that are useful."""
    clock = Clock()

    def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        ids = [row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows]
        mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
        tensor, attended = torch.tensor(ids), torch.tensor(mask)
        clock.useful += int(attended[:, 1:].sum())
        clock.computed += tensor.numel()
        labels = tensor.masked_fill(attended == 0, NO_LOSS)
        return {"input_ids": tensor, "attention_mask": attended, "labels": labels}

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"), per_device_train_batch_size=DOCUMENTS_A_STEP,
        max_steps=steps + WARM_STEPS, save_strategy="no", report_to="none", logging_strategy="no",
        disable_tqdm=True, seed=0, remove_unused_columns=False, optim="adamw_torch", max_grad_norm=1.0,
    )  # fmt: skip
    rows: Any = [{"input_ids": text} for text in texts]
    Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[clock]).train()
    return clock.useful / clock.seconds, clock.useful / clock.computed


def packed_speed(folder: Path, texts: list[list[int]], tokens: int, steps: int) -> tuple[float, float]:
    """Return the same figures for our training, with about as many tokens per step, packed."""
    mean = sum(len(text) for text in texts) / len(texts)
    micro_batch = max(round(DOCUMENTS_A_STEP * mean / tokens), 1)
    config = TrainConfig(
        model=str(folder), corpus="-", output=folder, steps=steps + WARM_STEPS, sequence_tokens=tokens,
        micro_batch=micro_batch, checkpointing=False, warmup_steps=0, zero={"stage": 0},  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    model = load_model(folder, config, torch.float32).train()
    settings = deepspeed_config(config, "fp32", world_size=1, on_cuda=torch.cuda.is_available())
    parameters: Any = list(model.parameters())
    engine: Any = deepspeed.initialize(model=model, model_parameters=parameters, config=settings)[0]
    rows = pack(texts, tokens)
    useful = computed = 0
    started = 0.0
    for step in range(config.steps):
        if step == WARM_STEPS:
            started, useful, computed = time.perf_counter(), 0, 0
        chosen = [rows[(step * micro_batch + place) % len(rows)] for place in range(micro_batch)]
        names = ("input_ids", "position_ids", "labels")
        batch = Batch(*(torch.tensor([row[name] for row in chosen]) for name in names)).to(engine.device)
        total, counted = engine(batch.input_ids, batch.position_ids, batch.labels)
        engine.backward(total / counted)
        engine.step()
        useful += int(counted)
        computed += batch.input_ids.numel()
    return useful / (time.perf_counter() - started), useful / computed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--sequence-tokens", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.disable_progress_bar()
    if given.threads:
        torch.set_num_threads(given.threads)
    device = join_processes(-1)
    console = Console(highlight=False, soft_wrap=True)
    texts = documents(given.sequence_tokens)
    mean = sum(len(text) for text in texts) / len(texts)
    card = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU {platform.machine()}, {os.cpu_count()} cores"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder, given.sequence_tokens)
        console.print(
            f"{card}, {torch.get_num_threads()} thread(s), torch {torch.__version__}; CodeGen of 6 blocks, "
            f"width 256, float32; {len(texts)} documents of at most {given.sequence_tokens} tokens, "
            f"{mean:.0f} on average"
        )
        padded: list[tuple[float, float]] = []
        packed: list[tuple[float, float]] = []
        for number in range(1, given.rounds + 1):
            padded.append(padded_speed(folder, texts, given.steps))
            packed.append(packed_speed(folder, texts, given.sequence_tokens, given.steps))
            console.print(
                f"round {number}: Trainer {padded[-1][0]:,.0f}, packed {packed[-1][0]:,.0f} tokens/s"
            )
    theirs, ours = max(padded), max(packed)
    console.print(
        f"transformers' Trainer, padded: {theirs[0]:9,.0f} useful tokens/s ({theirs[1]:.0%} of its tokens)"
    )
    console.print(
        f"packed, fused attention:       {ours[0]:9,.0f} useful tokens/s ({ours[1]:.0%} of its tokens)"
    )
    console.print(f"ratio: {ours[0] / theirs[0]:.2f}")
    console.print(f"command: python {' '.join(sys.argv)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
