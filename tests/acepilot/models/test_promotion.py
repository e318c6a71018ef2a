"""What may become `current`, what may not and why, and that its history survives all of it."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acepilot.errors import ConfigError, ModelBroken, ModelNotFound
from acepilot.models import promotion
from acepilot.models.gate_report import JudgedModel
from acepilot.models.manifest import sha256_of
from acepilot.models.promotion import PromotionRefused, promote, rollback
from acepilot.models.promotion_history import read_history, report_path
from acepilot.models.registry import models_dir, register, registered_names
from acepilot.models.resolve import resolve
from tests.acepilot.models.tuned_models import report, write_model, write_report

SCRIPT = Path(__file__).parents[3] / "scripts" / "promote_model.py"


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
    """The file of a report, PASS unless changed, about two of them."""

    def write(base: str, candidate: str, /, **changes: Any) -> Path:
        content = report(models[base], models[candidate], **changes)
        return write_report(tmp_path / "reports" / f"{base}-{candidate}", content)

    return write


def current() -> str:
    return resolve("current").name


# --- entering the registry ---


def test_a_folder_is_copied_as_it_is_and_may_be_added_again(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "run", "weights")
    model = register(folder, "ours-1")
    assert {path.relative_to(model.path).as_posix() for path in model.path.rglob("*") if path.is_file()} == {
        "README.md",
        "manifest.json",
        "model.gguf",
        "tokenizer/vocab.txt",
    }
    assert register(folder, "ours-1") == model
    (folder / "model.gguf").write_bytes(b"what comes later")
    assert (model.path / "model.gguf").read_bytes() == b"weights"
    assert resolve("ours-1") == model


def test_another_model_of_that_name_is_refused(tmp_path: Path) -> None:
    register(write_model(tmp_path / "run", "weights"), "ours-1")
    with pytest.raises(ConfigError, match=r"has another model called ours-1.*--name"):
        register(write_model(tmp_path / "other", "others"), "ours-1")
    assert (models_dir() / "ours-1" / "model.gguf").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "model.gguf").write_bytes(b"damaged"), "model.gguf has changed"),
        (lambda folder: (folder / "tokenizer" / "vocab.txt").unlink(), "tokenizer/vocab.txt is missing"),
        (lambda folder: (folder / "custom.py").write_text("import os"), "custom.py is unexpected"),
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
    ],
)
def test_files_that_are_not_the_manifests_are_refused(
    tmp_path: Path, spoil: Callable[[Path], object], told: str
) -> None:
    folder = write_model(tmp_path / "run", "weights")
    spoil(folder)
    with pytest.raises(ModelBroken, match=re.escape(told)):
        register(folder)
    assert registered_names() == []
    assert not models_dir().exists() or list(models_dir().iterdir()) == []


@pytest.mark.parametrize("name", ["current", ".hidden", "../up", "a/b", "", "-x", "sp ace", "x" * 97])
def test_names_that_would_mean_something_else_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "run", "weights", id="current")
    with pytest.raises(ConfigError, match="--name"):
        register(folder, name)


# --- promotion ---


def test_nothing_is_current_before_the_first_promotion(models: dict[str, Path]) -> None:
    with pytest.raises(ModelNotFound, match=r"acepilot\.models promote"):
        resolve("current")


def test_a_pass_moves_current_and_is_written_down(passing: Callable[..., Path]) -> None:
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
    ("changes", "told"),
    [
        (
            {"verdict": "FAIL", "reasons": ["java fell by 6 points."]},
            r"FAIL\. java fell by 6 points\. Tune again",
        ),
        ({"verdict": "INCONCLUSIVE", "samples_to_decide": 60}, r"INCONCLUSIVE.*with 60 samples a problem"),
        ({"verdict": "INCONCLUSIVE"}, r"INCONCLUSIVE.*on more problems"),
        ({"verdict": "INFRASTRUCTURE"}, r"INFRASTRUCTURE.*Fix that and compare again"),
        ({"pool": None}, r"its own figures do not"),
        ({"languages": {}}, r"its own figures do not"),
        ({"base": JudgedModel(name="remote", files={}, run="r")}, "remote was judged over HTTP"),
        ({"candidate": JudgedModel(name="remote", files={}, run="r")}, "remote was judged over HTTP"),
        (
            {"candidate": JudgedModel(name="second", files={"model.gguf": "0" * 64}, run="r")},
            r"not about the second of the registry \(tokenizer/vocab\.txt is unexpected, model\.gguf has",
        ),
    ],
)
def test_any_other_report_is_refused(
    passing: Callable[..., Path], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(PromotionRefused, match=told):
        promote("second", passing("first", "second", **changes))
    assert read_history().promotions == []


def test_a_report_against_what_is_no_longer_served_is_refused(passing: Callable[..., Path]) -> None:
    stale = passing("first", "third")
    promote("second", passing("first", "second"))
    with pytest.raises(PromotionRefused, match="compares with first, but the current model is second"):
        promote("third", stale)
    assert current() == "second"


def test_every_objection_is_told_at_once(passing: Callable[..., Path]) -> None:
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


def test_a_served_model_that_changed_is_told_apart_from_another(
    models: dict[str, Path], passing: Callable[..., Path]
) -> None:
    promote("second", passing("first", "second"))
    file = passing("second", "third")
    (models["second"] / "model.gguf").write_bytes(b"retouched")
    with pytest.raises(PromotionRefused, match=r"files of second.*have changed since it was promoted"):
        promote("third", file)


def test_a_served_model_that_is_gone_is_told(models: dict[str, Path], passing: Callable[..., Path]) -> None:
    promote("second", passing("first", "second"))
    file = passing("second", "third")
    models["second"].rename(models["second"].with_name(".gone"))
    with pytest.raises(ModelNotFound, match="`current` is second, which is no longer"):
        resolve("current")
    with pytest.raises(PromotionRefused, match="`current` is second, which is no longer"):
        promote("third", file)


def test_what_is_no_report_or_no_model_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
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


# --- two at once, and crashes ---


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


@pytest.mark.parametrize("dies_at", ["_keep", "append"])
def test_a_crash_before_the_one_step_leaves_the_old_state(
    passing: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    promote("second", passing("first", "second"))
    before = read_history()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(promotion, dies_at, die)
        with pytest.raises(KeyboardInterrupt):
            promote("third", passing("second", "third"))
    assert read_history() == before
    promote("third", passing("second", "third"))
    assert current() == "third"


def test_a_crash_while_the_history_is_written_leaves_the_old_state(
    passing: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    promote("second", passing("first", "second"))
    rename = Path.replace

    def die_at_history(self: Path, target: Path) -> Path:
        if target.name == "history.json":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die_at_history)
        with pytest.raises(KeyboardInterrupt):
            promote("third", passing("second", "third"))
    assert current() == "second"
    promote("third", passing("second", "third"))
    assert [entry.model.name for entry in read_history().promotions] == ["second", "third"]


def test_a_damaged_history_is_told_and_not_overwritten(passing: Callable[..., Path], tmp_path: Path) -> None:
    promote("second", passing("first", "second"))
    file = tmp_path / "home" / "promotions" / "history.json"
    file.write_text(file.read_text()[:-20])
    for attempt in (lambda: resolve("current"), lambda: promote("third", None, force_reason="x"), rollback):
        with pytest.raises(ModelBroken, match=r"history\.json is damaged"):
            attempt()
    assert resolve("second").name == "second", "names do not need the history"


# --- the command ---


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


def test_the_command_from_candidate_to_rollback(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", "base weights")
    tuned = write_model(tmp_path / "tuned", "tuned weights")
    assert run("add", str(base)).returncode == 0
    assert run("add", str(tuned), "--name", "ours-1").returncode == 0
    failed = write_report(tmp_path / "failed", report(base, tuned, verdict="FAIL"))
    refused = run("promote", "ours-1", "--report", str(failed))
    assert (refused.returncode, "The gate says FAIL" in refused.stderr) == (1, True)
    unreasoned = run("promote", "ours-1", "--report", str(failed), "--force")
    assert (unreasoned.returncode, "--reason" in unreasoned.stderr) == (2, True)
    passed = write_report(tmp_path / "passed", report(base, tuned))
    promoted = run("promote", "ours-1", "--report", str(passed))
    assert "The current model is ours-1" in promoted.stdout
    assert "the gate: No language lost more than its margin." in promoted.stderr
    assert run("rollback").returncode == 0
    forced = run("promote", "ours-1", "--report", str(failed), "--force", "--reason", "[why] not")
    assert "overruled: The gate says FAIL" in forced.stderr

    listed = run("list").stdout
    for text in ("ours-1", "current", "rollback", "forced", "[why] not"):
        assert text in listed
    document = json.loads(run("list", "--json").stdout)
    assert document["current"] == "ours-1"
    assert list(document["models"]) == ["base", "ours-1"]
    assert [entry["action"] for entry in document["history"]] == ["promote", "rollback", "promote"]


def test_a_damaged_manifest_does_not_hide_the_other_models(models: dict[str, Path]) -> None:
    (models["second"] / "manifest.json").write_text("{")
    listed = run("list")
    assert listed.returncode == 0
    assert "its manifest is damaged" in listed.stdout
    assert "third" in listed.stdout
