"""Real training on two CPU processes: the loss falls, ZeRO stages agree, a kill changes nothing."""

import json
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from acepilot.models.manifest import read_manifest, sha256_of
from tests.finetune.training.train_run import Finished, kill, launch, start, train

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="session")
def plain_run(training_home: Path, tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Run full tuning in float32 with ZeRO-0 and the launcher; other runs are compared with it."""
    finished = launch(training_home, tmp_path_factory.mktemp("runs") / "plain", tiny_corpus, "zero.stage=0")
    assert finished.code == 0, finished.output
    return finished


def test_training_lowers_the_loss_and_exports_a_model_that_transformers_opens(plain_run: Finished) -> None:
    assert len(plain_run.losses) == 6
    assert plain_run.losses[-1] < plain_run.losses[0] - 0.3

    folder = plain_run.run / "model"
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([tokenizer.encode("import os\n")])
    assert model(input_ids=ids).logits.shape == (1, ids.shape[1], 320)

    manifest = read_manifest(folder)
    assert manifest.format == "safetensors"
    assert manifest.files["model.safetensors"].sha256 == sha256_of(folder / "model.safetensors")
    assert manifest.tuning is not None
    assert manifest.tuning.heldout_loss_after["python"] < manifest.tuning.heldout_loss_before["python"]
    assert set(manifest.tuning.heldout_loss_after) == {"all", "python", "markdown", "toml"}
    assert "| python |" in (folder / "README.md").read_text()


def test_zero_3_agrees_with_no_sharding(
    plain_run: Finished, training_home: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    sharded = train(training_home, tmp_path / "run", tiny_corpus, "zero.stage=3")
    assert sharded.code == 0, sharded.output
    assert sharded.losses == pytest.approx(plain_run.losses, abs=2e-5)


def test_lora_in_fp16_trains_the_adapter_alone_and_is_merged(
    training_home: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    done = train(
        training_home, tmp_path / "run", tiny_corpus, "method=lora", "precision=fp16", "zero.stage=2",
        "learning_rate=2e-2", "steps=12", "checkpointing=false",
    )  # fmt: skip
    assert done.code == 0, done.output
    assert done.losses[-1] < done.losses[0] - 0.1
    assert (done.run / "weights/best/adapter_config.json").is_file()
    tuned = AutoModelForCausalLM.from_pretrained(done.run / "model", dtype=torch.float32)
    base = AutoModelForCausalLM.from_pretrained(training_home / "cache/training/tiny")
    changed = {
        name
        for name, weight in base.state_dict().items()
        if not torch.allclose(weight, tuned.state_dict()[name], atol=1e-3)
    }
    assert changed
    assert all(name.split(".")[-2] in {"qkv_proj", "out_proj", "fc_in", "fc_out"} for name in changed)


def test_a_killed_run_resumes_to_the_same_losses(
    plain_run: Finished, training_home: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    started = start(training_home, run, tiny_corpus, "zero.stage=0", "save_every=2")
    try:
        until = time.monotonic() + 100
        while not (run / "resume.json").is_file():
            assert time.monotonic() < until, "no checkpoint was written"
            assert started[0].poll() is None, "the run ended before it was killed"
            time.sleep(0.01)
    finally:
        kill(started)
    step = json.loads((run / "resume.json").read_text())["state"]["step"]
    assert step < 6
    again = train(training_home, run, tiny_corpus, "zero.stage=0", "save_every=2", "export.alpha=0.5")
    assert again.code == 0, again.output
    assert f"resuming after step {step}" in again.output
    assert again.losses == plain_run.losses
    tuning = read_manifest(run / "model").tuning
    assert tuning is not None
    assert tuning.alpha == 0.5  # a key that may change on resuming

    # A checkpoint of two processes is not loaded by one.
    alone = train(training_home, run, tiny_corpus, "zero.stage=0", "save_every=2", processes=1)
    assert alone.code == 1
    assert "was made by 2 process(es) and this start has 1" in alone.output
    assert "Traceback" not in alone.output


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_all_stages_agree(
    method: str, precision: str, training_home: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    common = (f"method={method}", f"precision={precision}")
    if method == "lora":
        common += ("learning_rate=2e-2",)
    runs = [
        train(training_home, tmp_path / f"stage-{stage}", tiny_corpus, *common, f"zero.stage={stage}")
        for stage in (0, 1, 2, 3)
    ]
    for run in runs:
        assert run.code == 0, run.output
        assert run.losses[-1] < run.losses[0] - 0.05
        # Each stage adds in another order, which matters in half precision.
        assert run.losses == pytest.approx(runs[0].losses, abs=2e-5 if precision == "fp32" else 2e-2)


@pytest.mark.slow
def test_a_run_without_a_new_best_stops_early(training_home: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    done = train(
        training_home, tmp_path / "run", tiny_corpus,
        "learning_rate=1e-12", "patience=2", "eval_every=1", "steps=50", processes=1,
    )  # fmt: skip
    assert done.code == 0, done.output
    assert "2 held-out losses without a new best: stopping at step" in done.output
    assert len(done.losses) < 50
    assert json.loads((done.run / "resume.json").read_text())["state"]["finished"]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run(
    training_home: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    done = train(training_home, tmp_path / "run", tiny_corpus, "learning_rate=1e30", "clip_norm=1e30")
    assert done.code == 1
    assert "The loss of step" in done.output or "The gradient of step" in done.output
    assert "Lower learning_rate" in done.output
    assert "Traceback" not in done.output
