"""The story's engine: what is skipped, what begins anew, what goes on; what is chosen; what is said."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from acepilot.errors import ConfigError
from acepilot.models.gate_report import Comparison, GateReport, JudgedModel
from acepilot.models.manifest import write_atomically
from bench.peers.processes import running
from eval_humaneval.results import HoleMeasures, Sample
from story import harness, promotion
from story.choice import TOLERATED_DRIFT, Candidate, best_of
from story.difference import Difference, differences
from story.findings import findings
from story.pipeline import Call, Command, Step, StepFailed, Story
from story.progress import in_words, pace
from story.report import curve
from story.sizes import SIZES, STARTER
from story.steps import steps_of

APPEND = "import sys; from pathlib import Path; p = Path(sys.argv[1]); p.open('a').write(sys.argv[2])"


FILES = "abcdefghijklmnopqrst"


def quiet(_: str) -> None: ...


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    story = Story(tmp_path / "story", tmp_path / "home")
    with story.held():
        yield story


def step_of(story: Story, text: str = "x", **more: object) -> Step:
    """Appends `text` to `out`, which a step that begins anew finds gone."""
    out = story.folder / "out"
    program = Command((sys.executable, "-c", APPEND, str(out), text))
    return Step("part/one", "a step", (program,), outputs=(out,), makes=(out,), **more)  # type: ignore[arg-type]


def run(story: Story, step: Step) -> str:
    if not story.is_done(step):
        story.run(step, quiet)
    return (story.folder / "out").read_text()


def test_a_step_is_done_once_and_again_only_when_something_has_changed(story: Story, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe"
    recipe.write_text("1")
    assert run(story, step_of(story, inputs=(recipe,))) == "x"
    assert run(story, step_of(story, inputs=(recipe,))) == "x"
    assert run(story, step_of(story, "y", inputs=(recipe,))) == "y"
    recipe.write_text("2")
    assert not story.is_done(step_of(story, "y", inputs=(recipe,)))
    (story.folder / "out").write_text("touched")
    assert not story.is_done(step_of(story, "y", inputs=(recipe,)))
    assert run(story, step_of(story, "y", inputs=(recipe,))) == "y"


def test_a_step_of_a_function_is_done_again_when_an_argument_changes(story: Story) -> None:
    out = story.folder / "out"
    for text in ("x", "y"):
        call = Call(write_atomically, {"path": out, "text": text})
        assert run(story, Step("part/one", "a step", (call,), outputs=(out,))) == text


def test_a_step_that_was_stopped_goes_on_over_what_it_left(story: Story) -> None:
    failing = Command((sys.executable, "-c", "import sys; sys.exit(3)"), accepted=(0,))
    step = step_of(story)
    stopped = Step(step.name, step.title, (*step.work, failing), outputs=step.outputs, makes=step.makes)
    for _ in range(2):
        with pytest.raises(StepFailed, match="ended with 3"):
            story.run(stopped, quiet)
    assert (story.folder / "out").read_text() == "xx"
    record = story.record(stopped)
    assert record is not None
    assert not record.done
    assert record.seconds > 0
    # programs that refuse to write over what is there begin at the beginning
    begun_again = replace(stopped, name="part/two", goes_on=False)
    for _ in range(2):
        with pytest.raises(StepFailed, match="ended with 3"):
            story.run(begun_again, quiet)
        assert (story.folder / "out").read_text() == "x"
    # other work than that which was stopped: anew
    assert run(story, step_of(story, "z")) == "z"


def test_two_replays_never_work_on_one_folder(story: Story) -> None:
    with pytest.raises(StepFailed, match="Another replay works on"), Story(story.folder, story.home).held():
        pytest.fail("the lock was had twice")


def test_a_folder_is_held_as_long_as_anything_that_was_started_runs(tmp_path: Path) -> None:
    story = Story(tmp_path / "story", tmp_path / "home")
    with ExitStack() as replay, ExitStack() as program:
        replay.enter_context(story.held())
        program.enter_context(running(["sleep", "60"], log=tmp_path / "log", ready=lambda: True))
        replay.close()
        with pytest.raises(StepFailed, match="programs of a killed one still run"), story.held():
            pytest.fail("the lock was had while the program ran")
        program.close()
        with story.held():
            pass


class Tools:
    """A JudgePool on a machine without PHP."""

    def __init__(self, **_: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def missing(self, languages: Sequence[str]) -> dict[str, str]:
        return {name: "`apt-get install php-cli`" for name in languages if name == "php"}

    def versions(self, languages: Sequence[str]) -> dict[str, str]:
        return dict.fromkeys(languages, "1.0")


def test_what_tables_depend_on_is_known_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "JudgePool", Tools)
    monkeypatch.chdir(tmp_path)
    size = replace(STARTER, problems=("builtin",))
    with pytest.raises(harness.HarnessIncomplete, match="php: `apt-get install php-cli`"):
        harness.note(size, tmp_path)
    with pytest.raises(ConfigError, match="no problem set"):
        harness.note(replace(size, problems=("builtin", str(tmp_path / "none"))), tmp_path)
    (tmp_path / "acepilot.toml").write_text("[eval_humaneval]\nseed = 1\n")
    with pytest.raises(ConfigError, match="Move it"):
        harness.note(size, tmp_path)
    (tmp_path / "acepilot.toml").unlink()
    assert not harness.tools_file(tmp_path).exists()
    harness.note(replace(size, languages=("go", "vue")), tmp_path)
    assert json.loads(harness.tools_file(tmp_path).read_text()) == {"go": "1.0", "vue": "1.0"}
    assert set(json.loads(harness.problems_file(tmp_path).read_text())) == {"builtin"}


def test_exit_codes_that_are_answers_are_kept(story: Story) -> None:
    verdict = Command((sys.executable, "-c", "import sys; sys.exit(2)"), accepted=(0, 1, 2))
    step = Step("gate", "a verdict", (verdict,))
    story.run(step, quiet)
    record = story.record(step)
    assert record is not None
    assert record.exit_codes == [2]


def test_a_step_without_its_inputs_or_outputs_is_no_silent_success(story: Story, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="an earlier step should have made it"):
        story.run(step_of(story, inputs=(tmp_path / "missing",)), quiet)
    nothing = Step(
        "none", "makes nothing", (Command((sys.executable, "-c", "")),), outputs=(tmp_path / "no",)
    )
    with pytest.raises(StepFailed, match="ended without"):
        story.run(nothing, quiet)


def test_what_was_measured_scales_what_is_guessed(story: Story) -> None:
    done = step_of(story, guess_s=100.0)
    assert pace(story, [done]) == 1
    run(story, done)
    assert 0 < pace(story, [done]) < 1
    assert (in_words(12), in_words(600), in_words(9000)) == ("12 s", "10 min", "2.5 h")


@pytest.mark.parametrize("name", sorted(SIZES))
def test_every_step_finds_what_earlier_ones_made(name: str, tmp_path: Path) -> None:
    made = {harness.tools_file(tmp_path), harness.problems_file(tmp_path)}
    steps = steps_of(SIZES[name], tmp_path, tmp_path / "users")
    assert len({step.name for step in steps}) == len(steps)
    for step in steps:
        missing = [path for path in step.inputs if path.is_relative_to(tmp_path) and path not in made]
        # a tokenizer comes with its model
        assert not [path for path in missing if path.name != "tokenizer.json"], step.name
        assert all(path.is_file() for path in step.inputs if not path.is_relative_to(tmp_path)), step.name
        made |= set(step.outputs)


def test_no_repository_is_both_tuned_on_and_judged_on() -> None:
    from finetune.scrape.sources import parse_source

    seen = {parse_source(text).id for text in (*STARTER.vue, *STARTER.others)}
    unseen = {parse_source(text).id for text in (*STARTER.unseen_vue, *STARTER.unseen_others)}
    assert not seen & unseen


def candidate(name: str, vue: float, drift: float) -> Candidate:
    return Candidate(name, Difference(vue, 0, 0, 9, 9), Difference(0.3, 0, 0, 9, 9), {"all": drift})


def test_the_best_in_vue_is_chosen_of_those_that_moved_little() -> None:
    eager = 0.1
    far = candidate("far", 0.3, 2 * TOLERATED_DRIFT * eager)
    near = candidate("near", 0.1, 0.0)
    better = candidate("better", 0.2, 0.5 * TOLERATED_DRIFT * eager)
    assert best_of([far, near, better], eager).name == "better"
    assert best_of([far, candidate("farther", 0.5, eager)], eager).name == "far"


def write_run(folder: Path, likelihoods: Mapping[str, float]) -> Path:
    folder.mkdir()
    lines = [
        Sample(
            problem=hole, cluster=hole[0], language="vue", index=0, completion="", outcome="failed",
            detail="", truncated=False, tokens=1, seconds=0.1,
            hole=HoleMeasures(
                kind="line", block="script", exact_match=value > 0.5, edit_similarity=value, parses=True,
                log_likelihood=value,
            ),
        ).model_dump_json()
        for hole, value in likelihoods.items()
    ]  # fmt: skip
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_differences_are_paired_by_hole_and_clustered_by_file(tmp_path: Path) -> None:
    holes = {f"{file}{number}": 0.1 * number for file in FILES for number in range(5)}
    base = write_run(tmp_path / "base", holes)
    better = write_run(tmp_path / "better", {hole: value + 0.05 for hole, value in holes.items()})
    found = differences(base, better, "log_likelihood")["all"]
    # the holes differ much from each other, and each by the same from itself
    assert (found.value, found.low, found.high) == pytest.approx((0.05, 0.05, 0.05))
    assert (found.holes, found.files, found.is_gain) == (100, 20, True)
    few = write_run(tmp_path / "few", {hole: value + 0.05 for hole, value in holes.items() if hole < "t"})
    assert not differences(base, few, "log_likelihood")["all"].is_gain
    same = differences(base, base, "exact_match")["vue"]
    assert (same.value, same.is_gain) == (0, False)


def compared(verdict: str, difference: float) -> Comparison:
    return Comparison(
        problems=50, samples=2, base=40, candidate=40 + difference, difference=difference,
        lower=difference - 3, upper=difference + 3, p_value=0.001, p_adjusted=0.004, margin=10,
        smallest_visible_drop=5, smallest_failed_drop=6, verdict=verdict,
    )  # fmt: skip


def gate_report(verdict: str, languages: dict[str, Comparison]) -> GateReport:
    side = JudgedModel(name="m", files={"model.gguf": "0" * 64}, run="r")
    return GateReport(
        verdict=verdict, reasons=["why"], base=side, candidate=side, config_hash="c", sandbox="s", alpha=0.05,
        drop_points=1, enlarged=False, samples_to_decide=None, seed=0, created="2026-01-01T00:00:00Z",
        git_commit=None, pool=compared("PASS", -0.5), languages=languages,
    )  # fmt: skip


def test_findings_name_what_dropped_and_what_held() -> None:
    gates = {
        "eager": gate_report("FAIL", {"go": compared("FAIL", -20), "python": compared("PASS", 0)}),
        "careful": gate_report("PASS", {"go": compared("PASS", 1)}),
    }
    attempts = {
        "eager": {"promoted": False, "exit_code": 1, "rolled_back": False},
        "careful": {"promoted": True, "exit_code": 0, "rolled_back": False},
    }
    gain, loss = Difference(4, 1, 7, 90, 30), Difference(-4, -7, -1, 90, 30)
    differ = {
        table: {side: {"edit_similarity": {"all": one}} for side, one in (("eager", loss), ("careful", gain))}
        for table in ("vue", "others")
    }
    differ["vue"]["eager"]["exact_match"] = differ["vue"]["careful"]["exact_match"] = {}
    ends = {"value": 0.1, "low": 0.05, "high": 0.2}
    one = {"name": "a-1", "vue": ends, "others": ends, "drift": {"all": 0.02}}
    choice = {"chosen": "a-1", "admitted": True, "eager_drift": 0.1, "candidates": [one]}
    told = "\n".join(findings(gates, attempts, differ, choice))
    assert "The eager tune dropped in Go: 40.0 to 20.0 (-20.0, p 0.004)." in told
    assert "The eager tune was refused, exit code 1." in told
    assert "The careful tune, lower bounds: all -3.5 (margin 10.0); Go -2.0 (margin 10.0)." in told
    assert "The careful tune was promoted." in told
    assert "The eager tune fills Vue's holes better by more than the interval: no." in told
    assert "The careful tune fills Vue's holes better by more than the interval: yes." in told


def test_a_registry_that_ignores_the_gate_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    (tmp_path / "gate.json").write_text(gate_report("FAIL", {}).model_dump_json())
    target = tmp_path / "attempt.json"
    monkeypatch.setattr(promotion, "run_quietly", lambda _: (0, "promoted"))
    with pytest.raises(promotion.GateIgnored, match="verdict on m is FAIL"):
        promotion.attempt("m", tmp_path, keep=True, target=target, policy={})
    monkeypatch.setattr(promotion, "run_quietly", lambda _: (1, "error: The gate says FAIL."))
    promotion.attempt("m", tmp_path, keep=True, target=target, policy={})
    assert json.loads(target.read_text())["promoted"] is False


def test_a_curve_is_drawn_from_its_first_to_its_last_step() -> None:
    drawn = curve([3.0, 2.0, 1.0])
    assert (drawn.first, drawn.last, drawn.steps) == (3.0, 2.0, 3)
    assert drawn.points.split(" ")[0] == "0.0,0.0"
    assert drawn.points.split(" ")[-1].startswith("720.0,")
