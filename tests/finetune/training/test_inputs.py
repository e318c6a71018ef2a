"""The inputs of a run: recipes, corpora and checkpoints. Errors are reported before anything is written."""

import json
import math
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from acepilot.corpus import CorpusUnusable
from acepilot.errors import ConfigError, ModelNotFound, NotEnoughDisk
from acepilot.models.manifest import Manifest, write_manifest
from acepilot.models.resolve import resolve
from finetune.corpus.tables import PACKED
from finetune.export import export_run
from finetune.modeling.base_model import base_folder
from finetune.modeling.tiny import byte_tokenizer, make_tiny_model
from finetune.training.batches import Rows, check_tokenizer, indices_of
from finetune.training.checkpoint import save_checkpoint
from finetune.training.config import TrainConfig, load_config
from finetune.training.launch import deepspeed_config
from finetune.training.run_folder import (
    CheckpointUnusable,
    ResumePoint,
    RunState,
    find_resume_point,
    log_loss,
    truncate_loss_log,
)
from finetune.training.stability import StabilityGuard, TrainingDiverged
from finetune.transformers_folder import transformers_folder

SMOKE = Path(__file__).resolve().parents[3] / "finetune" / "configs" / "smoke.yaml"


def test_overrides_reach_inner_keys_and_numbers_are_numbers() -> None:
    config = load_config(SMOKE, ["zero.stage=3", "learning_rate=1e-4", "lora.targets=[fc_in]", "name=a b"])
    assert (config.zero.stage, config.learning_rate, config.lora.targets, config.name) == (
        3,
        1e-4,
        ["fc_in"],
        "a b",
    )


def test_all_mistakes_of_a_recipe_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(SMOKE, ["stepz=3", "zero.stage=4", "learning_rate=-1", "warmup_steps", "model.name=x"])
    message = str(caught.value)
    for mistake in (
        "stepz: Extra inputs",
        "zero.stage",
        "learning_rate",
        "write key=value",
        "`model` is not a group",
    ):
        assert mistake in message


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="offload_params needs stage: 3"):
        load_config(SMOKE, ["zero.offload_params=true"])
    with pytest.raises(ConfigError, match="must be below steps"):
        load_config(SMOKE, ["warmup_steps=60"])
    with pytest.raises(ConfigError, match=r"no recipe .* has: .*smoke"):
        load_config(Path("nowhere.yaml"), [])


def test_fp16_never_runs_at_stage_0_where_deepspeed_loses_the_loss_scale() -> None:
    def stage(precision: str, asked: int) -> int:
        config = load_config(SMOKE, [f"zero.stage={asked}"])
        return deepspeed_config(config, precision, world_size=2, on_cuda=True)["zero_optimization"]["stage"]

    assert [stage("fp16", asked) for asked in (0, 1, 2, 3)] == [1, 1, 2, 3]
    assert [stage("bf16", asked) for asked in (0, 1, 2, 3)] == [0, 1, 2, 3]


def test_every_row_comes_once_an_epoch_whatever_the_batch() -> None:
    rows = 7
    alone = [indices_of(sample, 1, rows, seed=3)[0] for sample in range(21)]
    assert alone == indices_of(0, 21, rows, seed=3)
    assert all(sorted(alone[at : at + rows]) == list(range(rows)) for at in (0, 7, 14))
    assert alone[:7] != alone[7:14]
    assert alone != indices_of(0, 21, rows, seed=4)


def test_a_long_row_gives_several_short_ones(
    tiny_corpus: Path, training_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(training_home))
    whole, halves = Rows(tiny_corpus, "train", 64), Rows(tiny_corpus, "train", 32)
    assert len(halves) == 2 * len(whole)
    first, second = whole.batch([0]), halves.batch([0, 1])
    assert first.input_ids.flatten().tolist() == second.input_ids.flatten().tolist()
    assert (second.labels[second.position_ids == 0] == -100).all()
    assert {name: len(rows) for name, rows in whole.by_language(2).items()} == {
        "markdown": 2,
        "python": 2,
        "toml": 2,
    }


@pytest.mark.parametrize("what", ["missing", "empty", "damaged", "columns", "short"])
def test_a_corpus_that_cannot_be_used_is_an_error(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    file = tmp_path / "packed" / "train" / "part-0.parquet"
    expected = {
        "missing": "has no packed/train",
        "empty": "has no rows",
        "damaged": "cannot be read",
        "columns": "lacks the columns position_ids, labels, language",
        "short": "set sequence_tokens=3",
    }
    row = {"input_ids": [1, 2, 3], "position_ids": [0, 1, 2], "labels": [-100, 2, 3], "language": "vue"}
    tables = {
        "empty": PACKED.empty_table(),
        "short": pa.Table.from_pylist([row], schema=PACKED),
        "columns": pa.table({"input_ids": [[1, 2, 3]]}),
    }
    if what != "missing":
        file.parent.mkdir(parents=True)
    if what == "damaged":
        file.write_bytes(b"PAR1 and nothing else")
    elif what in tables:
        parquet.write_table(tables[what], file)
    with pytest.raises(CorpusUnusable, match=expected[what]):
        Rows(tmp_path, "train", 64)


def test_a_corpus_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "same" / "tokenizer")
    check_tokenizer(tmp_path / "same", model)
    other = byte_tokenizer()
    other.add_tokens(["return", "export"])
    other.save_pretrained(tmp_path / "other" / "tokenizer")
    with pytest.raises(ConfigError, match="packed with another tokenizer"):
        check_tokenizer(tmp_path / "other", model)


def test_a_missing_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="There is no model"):
        base_folder(str(tmp_path / "nothing"))


def a_run(folder: Path, config: TrainConfig) -> None:
    part = folder / "checkpoints" / "step-000003" / "part.pt"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"12345")
    (folder / "config.json").write_text(config.model_dump_json())
    resumable = ResumePoint(
        tag="step-000003",
        world_size=2,
        zero_stage=2,
        corpus_hash="abc",
        files={"part.pt": 5},
        state=RunState(step=3),
    )
    (folder / "resume.json").write_text(resumable.model_dump_json())


def test_a_run_resumes_only_with_its_own_recipe_and_corpus(tmp_path: Path) -> None:
    config = load_config(SMOKE, [f"output={tmp_path}"])
    assert find_resume_point(tmp_path, config, 2, "abc") is None
    a_run(tmp_path, config)
    found = find_resume_point(tmp_path, config.model_copy(update={"eval_every": 7}), 2, "abc")
    assert found is not None
    assert found.state.step == 3
    for start, message in [
        ((config, 1, "abc"), r"made by 2 process\(es\) and this start has 1.*finetune.export"),
        ((load_config(SMOKE, ["zero.stage=3"]), 2, "abc"), "zero.stage=2 and this start has zero.stage=3"),
        ((load_config(SMOKE, ["learning_rate=1e-5"]), 2, "abc"), r"learning_rate \(0.003 then, 1e-05 now\)"),
        ((config, 2, "def"), "the corpus's content"),
    ]:
        with pytest.raises(CheckpointUnusable, match=message):
            find_resume_point(tmp_path, *start)


def test_a_corrupt_checkpoint_is_an_error(tmp_path: Path) -> None:
    config = load_config(SMOKE, [f"output={tmp_path}"])
    a_run(tmp_path, config)
    (tmp_path / "checkpoints" / "step-000003" / "part.pt").write_bytes(b"123")
    with pytest.raises(CheckpointUnusable, match="another size than when it was written"):
        find_resume_point(tmp_path, config, 2, "abc")
    (tmp_path / "resume.json").write_text('{"tag": ')
    with pytest.raises(CheckpointUnusable, match="damaged"):
        find_resume_point(tmp_path, config, 2, "abc")


def test_a_hub_id_that_was_fetched_to_be_served_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path))
    folder = make_tiny_model(tmp_path / "models" / "me--small")
    manifest = Manifest(
        id="small", format="safetensors", files={}, base="me/small", licence="MIT", dtype="float32",
        context_tokens=64,
    )  # fmt: skip
    write_manifest(manifest, folder)
    assert base_folder("me/small") == folder
    assert transformers_folder(resolve("me/small")) == folder  # its corpus gets the same tokenizer


def test_a_run_without_weights_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"config\.json is missing"):
        export_run(tmp_path)
    a_run(tmp_path, load_config(SMOKE, [f"output={tmp_path}"]))
    with pytest.raises(ModelNotFound, match="no weights/best"):
        export_run(tmp_path)


def test_a_full_disk_is_an_error_and_leaves_no_partial_checkpoint(tmp_path: Path) -> None:
    class Engine:
        def save_checkpoint(self, folder: str, tag: str, **_: object) -> None:
            part = Path(folder, tag)
            part.mkdir(parents=True)
            (part / "states.pt").symlink_to("/dev/full")
            torch.save({"a": torch.zeros(1000)}, part / "states.pt")

    with pytest.raises(
        NotEnoughDisk, match=r"step-000010 was not written; the checkpoint before it is complete"
    ):
        save_checkpoint(Engine(), tmp_path, load_config(SMOKE, []), RunState(step=10), None)
    assert [path.name for path in tmp_path.rglob("*")] == ["checkpoints"]


def test_the_loss_log_drops_steps_that_will_run_again(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        log_loss(tmp_path, step, step / 2)
    truncate_loss_log(tmp_path, 2)
    assert [json.loads(line)["step"] for line in (tmp_path / "losses.jsonl").read_text().splitlines()] == [
        1,
        2,
    ]
    truncate_loss_log(tmp_path, 0)
    assert (tmp_path / "losses.jsonl").read_text() == ""


def test_a_diverged_run_is_stopped() -> None:
    guard = StabilityGuard(max_skipped_steps=3)
    guard.check(1, loss=2.0, norm=math.inf, was_skipped=True)
    guard.check(2, loss=2.0, norm=math.inf, was_skipped=True)
    guard.check(3, loss=2.0, norm=1.0, was_skipped=False)
    guard.check(4, loss=2.0, norm=math.inf, was_skipped=True)
    guard.check(5, loss=2.0, norm=math.inf, was_skipped=True)
    with pytest.raises(TrainingDiverged, match="overflowed in 3 steps in a row, up to step 6"):
        guard.check(6, loss=2.0, norm=math.inf, was_skipped=True)
    with pytest.raises(TrainingDiverged, match="loss of step 7 is nan"):
        StabilityGuard(3).check(7, loss=math.nan, norm=1.0, was_skipped=False)
    with pytest.raises(TrainingDiverged, match="gradient of step 8 is inf"):
        StabilityGuard(3).check(8, loss=1.0, norm=math.inf, was_skipped=False)
