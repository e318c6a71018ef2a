"""Compute the memory that a recipe needs on a card, on the host and on the disk; for --dry-run.

Parameters are counted on torch's meta device, from the config alone. Model states follow DeepSpeed's own
estimators (`estimate_zero2_…` and `estimate_zero3_model_states_mem_needs`), extended to LoRA and to the other
stages. Activations are what autograd would keep: one block and three are run on fake tensors.
"""

# torch and transformers are typed only in part; the tests check how they are used.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode  # torch's manual imports it from here
from torch.multiprocessing.reductions import StorageWeakRef
from transformers import AutoModelForCausalLM

from finetune.modeling.loss_model import LOSS_CHUNK_TOKENS, add_lora
from finetune.modeling.packed_attention import use_packed_attention
from finetune.training.config import TrainConfig, ZeroOptions

GIB = 2**30
HOST_FACTOR = 1.5
"""DeepSpeed's factor for what the host needs in addition to the states themselves."""

RESERVED_GIB = 1.5  # of each card: CUDA's context, libraries and NCCL's buffers
USABLE_SHARE = 0.95  # of a card's remaining memory: the rest is lost to fragmentation

MASTER_BYTES = 8  # for each trained weight: a float32 copy and its float32 gradient
ADAM_BYTES = 8  # for each trained weight: two float32 moments


@dataclass(frozen=True)
class ModelSize:
    """Exact numbers of weights. `largest_layer` is the module with most, which ZeRO-3 gathers as a whole."""

    total: int
    trained: int
    largest_layer: int


@dataclass(frozen=True)
class Activations:
    """Bytes that autograd keeps for one row: in a block, in a checkpointed block, and outside the blocks."""

    block: int
    checkpointed_block: int
    outside: int
    blocks: int

    def peak(self, *, checkpointing: bool) -> int:
        if checkpointing:
            return self.outside + self.blocks * self.checkpointed_block + self.block
        return self.outside + self.blocks * self.block


@dataclass(frozen=True)
class States:
    """Bytes of weights, gradients and optimizer, on each card and on each host."""

    card: int
    host: int


def model_size(model_config: Any, config: TrainConfig) -> ModelSize:
    """Count the weights of the model with this transformers config, and those that the recipe trains."""
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(model_config, trust_remote_code=False)
        model.tie_weights()
        total = sum(weight.numel() for weight in model.parameters())
        largest = max(sum(p.numel() for p in part.parameters(recurse=False)) for part in model.modules())
        if config.method == "full":
            return ModelSize(total, total, largest)
        adapted = add_lora(model, config.lora)
        trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
        return ModelSize(total + trained, trained, largest)


def model_states(size: ModelSize, zero: ZeroOptions, *, cards: int, cards_a_host: int, half: bool) -> States:
    """Return the bytes of model states. `half` means float16 or bfloat16 weights, else float32.

    For each trained weight there are the weight and its gradient, and for the optimizer a float32 master
    copy, its gradient and two moments.
    """
    weight = 2 if half else 4
    optimizer = MASTER_BYTES + ADAM_BYTES
    frozen = size.total - size.trained
    hosts = max(cards // cards_a_host, 1)
    # Every process loads the whole model before it is split.
    loading_whole = int(size.total * 4 * cards_a_host * HOST_FACTOR)
    if zero.stage == 3:
        card = 2 * weight * size.largest_layer
        host = 0
        if zero.offload_params:
            host += weight * size.total
        else:
            card += weight * size.total // cards
        if zero.offload_optimizer:
            host += optimizer * size.trained
        else:
            card += optimizer * size.trained // cards
        loading = int(size.largest_layer * 4 * cards_a_host * HOST_FACTOR)
        return States(card, max(int(host / hosts * HOST_FACTOR), loading))
    if zero.stage == 0:
        return States(
            weight * frozen + (weight + weight + (optimizer if half else ADAM_BYTES)) * size.trained,
            loading_whole,
        )
    if zero.offload_optimizer:
        host = int(size.trained * max(4 * cards, optimizer) * HOST_FACTOR)
        return States(weight * size.total, max(host, loading_whole) if frozen else host)
    if zero.stage == 1:
        return States(weight * (size.total + size.trained) + optimizer * size.trained // cards, loading_whole)
    return States(weight * size.total + (weight + optimizer) * size.trained // cards, loading_whole)


def activations(model_config: Any, config: TrainConfig) -> Activations:
    """Return the activations of one row of `sequence_tokens`, as one document, in half precision."""
    one, three = (_kept_bytes(model_config, config, layers, checkpointing=False) for layers in (1, 3))
    light_one, light_three = (
        _kept_bytes(model_config, config, layers, checkpointing=True) for layers in (1, 3)
    )
    block = (three - one) // 2
    vocabulary = int(model_config.vocab_size)
    # of one chunk: float32 logits, their softmax and their gradient
    logits = 3 * 4 * vocabulary * min(LOSS_CHUNK_TOKENS, config.sequence_tokens)
    return Activations(
        block=block,
        checkpointed_block=(light_three - light_one) // 2,
        outside=one - block + logits,
        blocks=int(model_config.num_hidden_layers),
    )


def _kept_bytes(model_config: Any, config: TrainConfig, layers: int, *, checkpointing: bool) -> int:
    """Return the bytes that autograd keeps besides weights, for a model with only `layers` blocks."""
    small = type(model_config).from_dict({**model_config.to_dict(), **_layers(model_config, layers)})
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(
            small, dtype=torch.float16, trust_remote_code=False
        ).train()
        packs = use_packed_attention(model)
        if checkpointing:
            model.activation_checkpointing_enable()
        if config.method == "lora":
            model = add_lora(model, config.lora).get_base_model()
    kept: dict[StorageWeakRef, torch.UntypedStorage] = {}
    # Fake CPU tensors, because on the meta device attention is not fused and would keep its scores.
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        weights = {StorageWeakRef(weight.untyped_storage()) for weight in model.parameters()}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            name = StorageWeakRef(storage)
            if name not in weights:
                kept[name] = storage  # a reference keeps the id from being reused
            return tensor

        row = torch.zeros(1, config.sequence_tokens, dtype=torch.long)
        lengths = {"document_lengths": [config.sequence_tokens]} if packs else {}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.base_model(input_ids=row, position_ids=torch.ones_like(row), use_cache=False, **lengths)
        return sum(storage.nbytes() for storage in kept.values())


def _layers(model_config: Any, layers: int) -> dict[str, Any]:
    """Return the config keys that set the number of blocks."""
    name = model_config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    kinds = getattr(model_config, "layer_types", None)
    return {name: layers, **({"layer_types": kinds[:layers]} if kinds else {})}


def disk_bytes(size: ModelSize, *, half: bool) -> int:
    """Return the peak: two checkpoints, best and last weights, the exported model and the base."""
    weight = 2 if half else 4
    checkpoint = size.trained * (weight + 4 + ADAM_BYTES)
    kept = size.trained * weight
    return 2 * checkpoint + 2 * kept + 2 * size.total * weight


def card_bytes(states: States, kept: Activations, config: TrainConfig, *, checkpointing: bool) -> int:
    """Return the memory that a run needs on each card, with the reserve."""
    rows = kept.peak(checkpointing=checkpointing) * config.micro_batch
    return int((states.card + rows) / USABLE_SHARE + RESERVED_GIB * GIB)
