"""Promotion and rollback: which models may become `current`, and that the history survives crashes."""

import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acepilot.errors import ConfigError, ModelBroken, ModelNotFound
from acepilot.models.gate_report import JudgedModel
from acepilot.models.manifest import sha256_of
from acepilot.models.promotion import PromotionRefused, promote, rollback
from acepilot.models.promotion_history import read_history, report_path
from acepilot.models.promotion_policy import PromotionPolicy
from acepilot.models.registry import register
from acepilot.models.resolve import resolve
from tests.acepilot.models.tuned_models import report, write_model, write_report


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """Three models in the registry, by name."""
    return {
        name: register(write_model(tmp_path / "runs" / name, f"weights of {name}")).path
        for name in ("first", "second", "third")
    }


@pytest.fixture
def passing(tmp_path: Path, models: dict[str, Path]) -> Callable[..., Path]:
    """Writes a report about two of the models, PASS unless changed, and returns its file."""

    def write(base: str, candidate: str, /, **changes: Any) -> Path:
        content = report(models[base], models[candidate], **changes)
        return write_report(tmp_path / "reports" / f"{base}-{candidate}", content)

    return write


def current() -> str:
    return resolve("current").name


# --- promotion ---


def test_nothing_is_current_before_the_first_promotion(models: dict[str, Path]) -> None:
    with pytest.raises(ModelNotFound, match=r"acepilot\.models promote"):
        resolve("current")


def test_a_pass_changes_current_and_is_recorded(passing: Callable[..., Path]) -> None:
    file = passing("first", "second")
    entry = promote("second", file)
    assert current() == "second"
    assert read_history().promotions == [entry]
    assert (entry.verdict, entry.forced, entry.overruled) == ("PASS", None, [])
    assert entry.who
    assert entry.report_sha256 == sha256_of(file)
    assert report_path(entry.report_sha256).read_bytes() == file.read_bytes()
    promote("third", passing("second", "third").parent)
    assert current() == "third"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"verdict": "FAIL", "reasons": ["java fell by 6 points."]},
            r"FAIL\. java fell by 6 points\. Tune again",
        ),
        ({"verdict": "INCONCLUSIVE", "samples_to_decide": 60}, r"INCONCLUSIVE.*with 60 samples a problem"),
        ({"verdict": "INCONCLUSIVE"}, r"INCONCLUSIVE.*on more problems"),
        ({"verdict": "INFRASTRUCTURE"}, r"INFRASTRUCTURE.*Fix that and compare again"),
        ({"pool": None}, r"its figures do not"),
        ({"languages": {}}, r"its figures do not"),
        ({"base": JudgedModel(name="remote", files={}, run="r")}, "remote was judged over HTTP"),
        ({"candidate": JudgedModel(name="remote", files={}, run="r")}, "remote was judged over HTTP"),
        (
            {"candidate": JudgedModel(name="second", files={"model.gguf": "0" * 64}, run="r")},
            r"not about the second of the registry \(tokenizer/vocab\.txt is unexpected, model\.gguf has",
        ),
    ],
)
def test_any_other_report_is_refused(
    passing: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(PromotionRefused, match=message):
        promote("second", passing("first", "second", **changes))
    assert read_history().promotions == []


def test_a_report_against_a_former_model_is_refused(passing: Callable[..., Path]) -> None:
    stale = passing("first", "third")
    promote("second", passing("first", "second"))
    with pytest.raises(PromotionRefused, match="compares with first, but the current model is second"):
        promote("third", stale)
    assert current() == "second"


def test_all_objections_are_reported_at_once(passing: Callable[..., Path]) -> None:
    promote("second", passing("first", "second"))
    with pytest.raises(PromotionRefused) as caught:
        promote("third", passing("first", "third", verdict="FAIL"))
    assert len(caught.value.message.splitlines()) == 2


def test_a_candidate_that_changed_after_it_was_judged_is_refused(
    models: dict[str, Path], passing: Callable[..., Path]
) -> None:
    file = passing("first", "second")
    (models["second"] / "model.gguf").write_bytes(b"retouched")
    with pytest.raises(ModelBroken, match=r"model\.gguf has changed"):
        promote("second", file)
    with pytest.raises(ModelBroken, match=r"model\.gguf has changed"):
        promote("second", file, force_reason="damage is nothing to overrule")


def test_a_current_model_whose_files_changed_is_reported(
    models: dict[str, Path], passing: Callable[..., Path]
) -> None:
    promote("second", passing("first", "second"))
    file = passing("second", "third")
    (models["second"] / "model.gguf").write_bytes(b"retouched")
    with pytest.raises(PromotionRefused, match=r"files of second.*have changed since it was promoted"):
        promote("third", file)


def test_a_current_model_that_is_gone_is_reported(
    models: dict[str, Path], passing: Callable[..., Path]
) -> None:
    promote("second", passing("first", "second"))
    file = passing("second", "third")
    models["second"].rename(models["second"].with_name(".gone"))
    with pytest.raises(ModelNotFound, match="`current` is second, which is no longer"):
        resolve("current")
    with pytest.raises(PromotionRefused, match="`current` is second, which is no longer"):
        promote("third", file)


def test_missing_reports_and_models_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_text('{"verdict": "PASS"}')
    with pytest.raises(ConfigError, match="is not a gate report"):
        promote("second", tmp_path)
    with pytest.raises(PromotionRefused, match="There is no gate report"):
        promote("second", None)
    with pytest.raises(ModelNotFound, match=r"there: first, second, third"):
        promote("fourth", None)


def test_promoting_the_current_model_is_refused(passing: Callable[..., Path]) -> None:
    promote("second", passing("first", "second"))
    with pytest.raises(PromotionRefused, match="second is the current model already"):
        promote("second", passing("second", "second"), force_reason="again")


def test_force_overrules_and_is_recorded(passing: Callable[..., Path]) -> None:
    file = passing("first", "second", verdict="FAIL")
    for empty in ("", "  "):
        with pytest.raises(PromotionRefused, match="needs a reason"):
            promote("second", file, force_reason=empty)
    entry = promote("second", file, force_reason="a demo tonight")
    assert current() == "second"
    assert (entry.verdict, entry.forced) == ("FAIL", "a demo tonight")
    assert "FAIL" in entry.overruled[0]
    assert promote("third", None, force_reason="without a report").report_sha256 is None


def test_the_page_has_the_defaults_of_the_policy() -> None:
    page = (Path(__file__).parents[3] / "docs" / "promotion.md").read_text(encoding="utf-8")
    table = tomllib.loads(page.partition("```toml")[2].partition("```")[0])["promotion"]
    assert PromotionPolicy.load(table) == PromotionPolicy.load()
    assert {*table, "pool_margin"} == set(PromotionPolicy.model_fields), "pool_margin is a comment there"


# --- rollback ---


def test_rollback_goes_back_step_by_step_and_loses_nothing(passing: Callable[..., Path]) -> None:
    promote("second", passing("first", "second"))
    promote("third", passing("second", "third"))
    assert rollback().model.name == "second" == current()
    assert rollback().model.name == "first" == current(), "the base of the first report was served before"
    with pytest.raises(PromotionRefused, match="no earlier model to go back to"):
        rollback()
    promote("third", passing("first", "third"))
    assert rollback().model.name == "first"
    actions = [entry.action for entry in read_history().promotions]
    assert actions == ["promote", "promote", "rollback", "rollback", "promote", "rollback"]


def test_rollback_needs_the_model_as_it_was(models: dict[str, Path], passing: Callable[..., Path]) -> None:
    promote("second", passing("first", "second"))
    models["first"].rename(models["first"].with_name(".gone"))
    with pytest.raises(ModelNotFound, match="`first` is not in the registry"):
        rollback()
    register(write_model(models["second"].parents[3] / "impostor", "other weights"), "first")
    with pytest.raises(PromotionRefused, match=r"first is not the model that was served before \(model.gguf"):
        rollback()
    assert current() == "second"


# --- concurrent promotions, and crashes ---


def test_of_two_promotions_against_one_base_the_second_is_refused(passing: Callable[..., Path]) -> None:
    promote("first", passing("third", "first"))
    reports = {name: passing("first", name) for name in ("second", "third")}
    refused: list[str] = []
    together = threading.Barrier(2)

    def try_it(name: str) -> None:
        together.wait()
        try:
            promote(name, reports[name])
        except PromotionRefused as error:
            refused.append(error.message)

    threads = [threading.Thread(target=try_it, args=(name,)) for name in reports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert f"the current model is {current()}" in refused[0]
    assert len(read_history().promotions) == 2


@pytest.mark.parametrize("last_written", ["reports", "history.json"])
def test_a_crash_before_the_history_is_replaced_leaves_the_old_state(
    passing: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, last_written: str
) -> None:
    """The process dies as it moves the report's copy, or the history, into place."""
    promote("second", passing("first", "second"))
    before = read_history()
    rename = Path.replace

    def die(self: Path, target: Path) -> Path:
        if last_written in (target.name, target.parent.name):
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            promote("third", passing("second", "third"))
    assert read_history() == before
    promote("third", passing("second", "third"))
    assert current() == "third"
    assert [entry.model.name for entry in read_history().promotions] == ["second", "third"]


def test_a_damaged_history_is_reported_and_not_overwritten(
    passing: Callable[..., Path], tmp_path: Path
) -> None:
    promote("second", passing("first", "second"))
    file = tmp_path / "home" / "promotions" / "history.json"
    file.write_text(file.read_text()[:-20])
    for attempt in (lambda: resolve("current"), lambda: promote("third", None, force_reason="x"), rollback):
        with pytest.raises(ModelBroken, match=r"history\.json is damaged"):
            attempt()
    assert resolve("second").name == "second", "names do not need the history"
