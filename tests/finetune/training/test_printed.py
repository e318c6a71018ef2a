"""Training prints names and paths as text, even with brackets that look like markup."""

from pathlib import Path

import pytest

from acepilot.cli import text_console
from finetune.modeling.tiny import make_tiny_model
from finetune.planner.memory_report import print_plan
from finetune.training.config import load_config
from finetune.training.metrics import ProgressReporter

SMOKE = Path(__file__).resolve().parents[3] / "finetune" / "configs" / "smoke.yaml"
ODD = "weird[/x][bold]:smile:dir"


def test_a_plan_names_model_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(ODD).mkdir(parents=True)
    make_tiny_model(Path(ODD, "model"))
    print_plan(load_config(SMOKE, [f"model={ODD}/model", f"output={ODD}/run"]), text_console())
    printed = capsys.readouterr().out
    assert printed.startswith(f"{ODD}/model, ")
    assert f"Disk in {ODD}/run: " in printed
    assert "(this recipe)" in printed


def test_progress_names_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = ProgressReporter(load_config(SMOKE, ["report=none"]), is_first=True, flops_a_token=1, peak=1)
    reporter.log(f"resuming after step 3 of {ODD}")
    assert capsys.readouterr().err == f"resuming after step 3 of {ODD}\n"
