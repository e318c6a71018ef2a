"""Export of a run: interpolation between base and tuned, merged adapters, complete folders."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from acepilot.errors import ConfigError, ModelNotFound
from acepilot.models.manifest import read_manifest
from finetune.export import export_run
from finetune.modeling.loss_model import add_lora, open_adapter
from finetune.modeling.tiny import byte_tokenizer, make_tiny_model
from finetune.training.config import LoraOptions, TrainConfig
from finetune.training.run_folder import ResumePoint, RunState

LOSSES = {"all": 2.0, "vue": 1.5}


def a_run(folder: Path, method: str) -> tuple[Path, Any]:
    """Return the folder of a finished run, as train.py leaves it, and its tiny base."""
    base_folder = make_tiny_model(folder / "base")
    base: Any = AutoModelForCausalLM.from_pretrained(base_folder)
    run = folder / "run"
    config = TrainConfig(
        model=str(base_folder),
        corpus="gone",
        output=run,
        steps=50,
        method=method,
        lora=LoraOptions(r=4),  # pyright: ignore[reportArgumentType]
    )
    byte_tokenizer().save_pretrained(run / "tokenizer")
    best = run / "weights" / "best"
    best.mkdir(parents=True)
    (run / "config.json").write_text(config.model_dump_json())
    state = RunState(
        step=50, best_step=40, first_losses={"all": 3.0, "vue": 2.5}, best_losses=LOSSES, finished=True
    )
    resumable = ResumePoint(tag="t", world_size=1, zero_stage=0, corpus_hash="c" * 64, files={}, state=state)
    (run / "resume.json").write_text(resumable.model_dump_json())
    torch.manual_seed(1)
    if method == "full":
        tuned = {name: weight + torch.randn_like(weight) for name, weight in base.named_parameters()}
        save_file(
            {name: weight.detach().contiguous() for name, weight in tuned.items()}, best / "model.safetensors"
        )
    else:
        adapted = add_lora(AutoModelForCausalLM.from_pretrained(base_folder), config.lora)
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                if "lora_B" in name:
                    weight.normal_()
        adapted.save_pretrained(best)
    return run, base


@pytest.mark.parametrize("method", ["full", "lora"])
def test_alpha_interpolates_between_base_and_tuned(method: str, tmp_path: Path) -> None:
    run, base = a_run(tmp_path, method)
    whole = load_file(export_run(run).folder / "model.safetensors")
    half = export_run(run, alpha=0.5, to=tmp_path / "half")
    changed = 0
    for name, weight in load_file(half.folder / "model.safetensors").items():
        start = base.state_dict()[name]
        torch.testing.assert_close(weight, (start + whole[name]) / 2, atol=1e-5, rtol=1e-4)
        changed += not torch.equal(weight, start)
    assert changed == (21 if method == "full" else 8)
    tuning = read_manifest(half.folder).tuning
    assert tuning is not None
    assert (tuning.alpha, tuning.step, tuning.heldout_loss_after) == (0.5, 40, LOSSES)
    assert "| vue | 2.5000 | 1.5000 | -1.0000 |" in (half.folder / "README.md").read_text()
    assert read_manifest(half.folder).data_hash == "c" * 64
    assert read_manifest(half.folder).id == "half"


def test_the_merged_model_computes_what_the_adapted_one_computes(tmp_path: Path) -> None:
    run, base = a_run(tmp_path, "lora")
    adapted: Any = open_adapter(base, run / "weights" / "best").eval()
    merged: Any = AutoModelForCausalLM.from_pretrained(export_run(run).folder).eval()
    ids = torch.arange(40)[None]
    torch.testing.assert_close(
        merged(input_ids=ids).logits, adapted(input_ids=ids).logits, atol=1e-4, rtol=1e-4
    )


def test_weights_are_described_by_the_state_saved_with_them(tmp_path: Path) -> None:
    run, _ = a_run(tmp_path, "full")
    saved = RunState(step=45, best_step=45, first_losses={"all": 3.0}, best_losses={"all": 1.0}, tokens=7)
    (run / "weights/best/state.json").write_text(saved.model_dump_json())
    tuning = read_manifest(export_run(run).folder).tuning
    assert tuning is not None
    assert (tuning.step, tuning.tokens, tuning.heldout_loss_after) == (45, 7, {"all": 1.0})


def test_without_the_tokenizer_of_its_corpus_nothing_is_exported(tmp_path: Path) -> None:
    run, _ = a_run(tmp_path, "full")
    (run / "tokenizer").rename(tmp_path / "tokenizer")
    with pytest.raises(ModelNotFound, match="copy the corpus's folder"):
        export_run(run)
    assert not (run / "model").exists()


@pytest.mark.parametrize("at", ["", "run", "run/weights"])
def test_a_folder_without_a_model_is_not_overwritten(at: str, tmp_path: Path) -> None:
    run, _ = a_run(tmp_path, "full")
    with pytest.raises(ConfigError, match="not a model folder"):
        export_run(run, to=tmp_path / at)
    assert export_run(run, to=run / "again").folder.is_dir()


def test_a_model_folder_is_replaced_completely(tmp_path: Path) -> None:
    run, _ = a_run(tmp_path, "full")
    (run / "model").mkdir()
    (run / "model" / "stale.txt").write_text("from an earlier export")
    folder = export_run(run).folder
    assert not (folder / "stale.txt").exists()
    assert set(read_manifest(folder).files) == {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []
