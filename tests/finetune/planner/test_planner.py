"""The planner agrees with DeepSpeed's estimators, with published sizes and with a measured block."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs
from rich.console import Console
from transformers import AutoModelForCausalLM, CodeGenConfig

from finetune.modeling.base_model import model_config
from finetune.modeling.loss_model import LossModel
from finetune.planner.cuda_check import Card, CudaSupport, cuda_notes, cuda_support
from finetune.planner.memory import GIB, ModelSize, activations, model_size, model_states
from finetune.planner.memory_report import cheapest, print_plan
from finetune.training.config import TrainConfig, ZeroOptions, load_config

CONFIGS = Path(__file__).resolve().parents[3] / "finetune" / "configs"
FULL = TrainConfig(model="-", corpus="-", output=Path("-"), steps=100, precision="fp16")


def size_of(name: str, config: TrainConfig = FULL) -> ModelSize:
    return model_size(model_config(f"Salesforce/codegen-{name}-multi", None), config)


@pytest.mark.parametrize(
    ("name", "cards", "zero", "card_gib", "host_gib"),
    [
        ("2B", 2, ZeroOptions(stage=2), 28.5, 31.1),
        ("2B", 2, ZeroOptions(stage=3), 23.8, 1.5),
        ("2B", 2, ZeroOptions(stage=3, offload_optimizer=True), 3.1, 62.1),
        ("6B", 4, ZeroOptions(stage=2), 42.8, None),
        ("6B", 4, ZeroOptions(stage=3), 30.4, 4.7),
        ("6B", 4, ZeroOptions(stage=3, offload_optimizer=True), 4.1, 157.9),
    ],
)
def test_model_states_of_codegen(
    name: str, cards: int, zero: ZeroOptions, card_gib: float, host_gib: float | None
) -> None:
    states = model_states(size_of(name), zero, cards=cards, cards_a_host=cards, half=True)
    assert round(states.card / GIB, 1) == card_gib
    assert host_gib is None or round(states.host / GIB, 1) == host_gib


@pytest.mark.parametrize("cards", [1, 2, 4, 8])
def test_full_tuning_agrees_with_deepspeeds_estimators(cards: int) -> None:
    size = size_of("2B")
    assert size.total == 2_779_356_160
    for offload in (False, True):
        ours = model_states(
            size, ZeroOptions(stage=2, offload_optimizer=offload), cards=cards, cards_a_host=cards, half=True
        )
        host, card = estimate_zero2_model_states_mem_needs(size.total, cards, 1, offload)
        assert (ours.host, ours.card) == pytest.approx((host, card), rel=1e-6)
    for offload, params in ((False, False), (True, False), (True, True)):
        zero = ZeroOptions(stage=3, offload_optimizer=offload, offload_params=params)
        ours = model_states(size, zero, cards=cards, cards_a_host=cards, half=True)
        host, card, _ = estimate_zero3_model_states_mem_needs(
            size.total, size.largest_layer, cards, 1, offload, params
        )
        assert (ours.host, ours.card) == pytest.approx((host, card), rel=1e-6)


def test_lora_trains_the_share_that_was_measured() -> None:
    size = size_of("2B", FULL.model_copy(update={"method": "lora"}))
    assert size.trained / size.total == pytest.approx(0.0075, abs=0.0001)
    assert size_of("6B").total == 7_064_213_504


def test_a_planned_block_keeps_as_much_as_a_real_one() -> None:
    """Compare the plan, from fake tensors, with a small CodeGen on real tensors."""
    shape = CodeGenConfig(
        vocab_size=320, n_positions=256, n_ctx=256, n_embd=64, n_layer=4, n_head=4, rotary_dim=8,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    planned = activations(shape, FULL.model_copy(update={"sequence_tokens": 256}))
    models = [
        LossModel(AutoModelForCausalLM.from_config(shape, dtype=torch.float16).train()) for _ in range(2)
    ]
    models[1].causal.activation_checkpointing_enable()
    block, checkpointed = (kept_by_middle_block(model) for model in models)
    assert planned.block == block
    assert planned.checkpointed_block == checkpointed == 256 * 64 * 2  # the block's input alone


def kept_by_middle_block(model: LossModel) -> int:
    """Return the bytes that autograd saves besides weights while the second of four blocks computes."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    tables = {buffer.untyped_storage().data_ptr() for buffer in model.buffers()}
    kept: list[dict[int, torch.Tensor]] = []
    for block in model.causal.transformer.h:
        block.register_forward_pre_hook(lambda *_: kept.append({}))
    kept.append({})

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[-1][tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    row = torch.zeros(1, 256, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.causal.base_model(
            input_ids=row, position_ids=torch.arange(256)[None], use_cache=False, document_lengths=[256]
        )
    before = set(kept[1])
    own = {place: tensor for place, tensor in kept[2].items() if place not in before | weights | tables}
    return sum(tensor.untyped_storage().nbytes() for tensor in own.values())


def test_fused_attention_keeps_a_third_of_what_scores_would_take() -> None:
    """transformers' plain attention keeps 1,050 MiB a block of the 2.7B at 2,048 tokens: its scores."""
    shape = model_config("Salesforce/codegen-2B-multi", None)
    kept = activations(shape, FULL)
    assert kept.block / 2**20 < 1050 / 3
    assert kept.checkpointed_block == 2048 * 2560 * 2
    assert kept.peak(checkpointing=True) < kept.peak(checkpointing=False) / 5


def test_the_six_billion_fit_four_v100_only_with_offload() -> None:
    shape, size = model_config("Salesforce/codegen-6B-multi", None), size_of("6B")
    kept = activations(shape, FULL)
    best = cheapest(FULL, size, kept, 32)
    assert best is not None
    assert best.way.zero.offload_optimizer
    assert cheapest(FULL, size, kept, 2) is None


def test_every_recipe_is_valid_and_codegen_fits_its_cards(capsys: pytest.CaptureFixture[str]) -> None:
    recipes = sorted(CONFIGS.glob("*.yaml"))
    assert len(recipes) >= 7
    for recipe in recipes:
        config = load_config(recipe, [])
        assert f"--config finetune/configs/{recipe.name}" in recipe.read_text().splitlines()[0]
        assert f"--num_gpus {config.cards} " in recipe.read_text().splitlines()[0]
        if config.model.startswith("Salesforce/"):
            print_plan(config, Console(width=200))
            planned = next(line for line in capsys.readouterr().out.splitlines() if "(this recipe)" in line)
            assert "V100-32" in planned, f"{recipe.name}: {planned}"


def test_cards_without_code_in_this_torch_are_named() -> None:
    assert "whl/cu126" in " ".join(cuda_notes(cuda_support()))
    machine = CudaSupport("2.13.0", "13.0", ("sm_75", "sm_80", "sm_90"), (Card("Tesla V100", 7, 0),))
    first, second, third = cuda_notes(machine)
    assert first.startswith("Tesla V100 (sm_70) cannot run")
    assert "lacks code for Volta" in second
    assert "cu126" in third
    with_volta = replace(machine, codes=("sm_70", "sm_80"))
    assert [note for note in cuda_notes(with_volta) if "cannot run" in note] == []
