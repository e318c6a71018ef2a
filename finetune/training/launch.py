"""Join the launched processes, and translate a recipe into DeepSpeed's settings: train.py's first steps."""

import logging
import os
from typing import Any, cast

import deepspeed
import torch
from deepspeed import comm
from deepspeed.accelerator import get_accelerator
from deepspeed.ops import __compatible_ops__
from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

from acepilot.errors import ConfigError
from finetune.training.config import TrainConfig

BUCKET_ELEMENTS = 50_000_000
"""Numbers in one piece of gradients or weights sent between cards. DeepSpeed's default, 500 million, takes
2 GB for each buffer."""


def join_processes(local_rank: int) -> torch.device:
    """Join the launcher's processes (under plain python, a group of one) and return this process's device."""
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    for name, value in alone.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", "0" if os.environ["WORLD_SIZE"] == "1" else "29500")
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    # DeepSpeed would compile a shared-memory transport for CPU processes, which takes a minute. Sockets do.
    __compatible_ops__[ShareMemCommBuilder.NAME] = False
    deepspeed.init_distributed(verbose=False)
    if not torch.cuda.is_available():
        # DeepSpeed refuses fp16 on CPUs without fast fp16. torch computes it on all CPUs, which is enough to
        # rehearse a recipe and to test.
        cast(Any, get_accelerator()).is_fp16_supported = lambda: True
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) if local_rank < 0 else local_rank)
    torch.cuda.set_device(device)
    return device


def resolved_precision(config: TrainConfig, device: torch.device) -> str:
    """Return `fp32`, `fp16` or `bf16`. Raises ConfigError for bf16 on a card without it."""
    if device.type != "cuda":
        return "fp32" if config.precision == "auto" else config.precision
    has_bf16 = torch.cuda.get_device_capability(device) >= (8, 0)  # Volta and Turing only emulate it
    if config.precision == "bf16" and not has_bf16:
        raise ConfigError("precision=bf16: this card has no bf16; use fp16 or auto.", field="precision")
    best = "bf16" if has_bf16 else "fp16"
    return best if config.precision == "auto" else config.precision


def deepspeed_config(
    config: TrainConfig, precision: str, *, world_size: int, on_cuda: bool
) -> dict[str, Any]:
    """Return the settings for `deepspeed.initialize`. train.py sets the learning rate before each step."""
    zero = config.zero
    torch_adam = (
        config.torch_adam if config.torch_adam is not None else not (on_cuda and zero.offload_optimizer)
    )
    stage: dict[str, Any] = {
        # DeepSpeed 0.19.8 at stage 0 divides fp16 gradients by a loss scale by which it never multiplied the
        # loss, so updates are too small. Stage 1 is correct and takes no more memory.
        "stage": 1 if precision == "fp16" and zero.stage == 0 else zero.stage,
        "reduce_bucket_size": BUCKET_ELEMENTS,
        "allgather_bucket_size": BUCKET_ELEMENTS,
        "overlap_comm": on_cuda,
        "contiguous_gradients": True,
    }
    if zero.offload_optimizer:
        stage["offload_optimizer"] = {"device": "cpu", "pin_memory": on_cuda}
    if zero.stage == 3:
        stage["stage3_prefetch_bucket_size"] = BUCKET_ELEMENTS
        if zero.offload_params:
            stage["offload_param"] = {"device": "cpu", "pin_memory": on_cuda}
    return {
        "train_micro_batch_size_per_gpu": config.micro_batch,
        "gradient_accumulation_steps": config.accumulation,
        "train_batch_size": config.micro_batch * config.accumulation * world_size,
        "gradient_clipping": config.clip_norm,
        "steps_per_print": 10**9,  # never: metrics.py reports the steps
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": config.learning_rate,
                "betas": list(config.betas),
                "weight_decay": config.weight_decay,
                "torch_adam": torch_adam,  # DeepSpeed compiles its own Adam at the first start, for minutes
            },
        },
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": stage,
        "bf16": {"enabled": precision == "bf16"},
        # The loss scale starts at 2^16; an overflow halves it, 500 steps without one double it.
        "fp16": {
            "enabled": precision == "fp16",
            "initial_scale_power": 16,
            "loss_scale_window": 500,
            "hysteresis": 1,
        },
    }


def all_reduced(values: list[float], device: torch.device) -> list[float]:
    """Return each value summed over all processes, in float64."""
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    comm.all_reduce(tensor)
    return cast(list[float], tensor.tolist())
