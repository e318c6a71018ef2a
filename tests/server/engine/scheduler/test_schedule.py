"""What a step contains, and that a sequence gets the same text whatever runs beside it."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from server.engine.scheduler.messages import CancelSequence, Score
from server.engine.scheduler.schedule import STEPS_BETWEEN
from server.engine.scheduler.worker import FAILURES_IN_A_ROW
from tests.server.engine.fake_runner import FakeRunner, Task, alone, generation, observed_worker

LONG = [1 + (at * at) % 23 for at in range(130)]
GREEDY = generation(12)


def test_a_long_prompt_stalls_nobody() -> None:
    runner = FakeRunner()
    observed = observed_worker(runner, tokens=8, drafts=0)
    observed.add(1, [5, 6], generation(30, temperature=1.0, seed=3))
    observed.run(steps=1)
    observed.add(2, LONG, GREEDY)
    observed.run(steps=3 * (STEPS_BETWEEN + 1))
    cycle = [*[[(0, 1)]] * STEPS_BETWEEN, [(0, 1), (1, 7)]]
    sizes = [
        [(row_slice.slot, len(row_slice.token_ids)) for row_slice in row_slices]
        for row_slices in runner.steps[1:]
    ]
    assert sizes == cycle * 3


def test_prompts_are_read_however_many_generate() -> None:
    runner = FakeRunner(slots=12)
    observed = observed_worker(runner, tokens=8, drafts=0, streams=12)
    for number in range(10):
        observed.add(number, [number + 1, 2], generation(40, temperature=1.0, seed=number))
    observed.run(steps=4 * (STEPS_BETWEEN + 1))
    observed.add(10, LONG, GREEDY)
    observed.run(steps=STEPS_BETWEEN + 1)
    sizes = [len(row_slices[-1].token_ids) for row_slices in runner.steps[-STEPS_BETWEEN - 1 :]]
    assert sorted(sizes) == [1] * STEPS_BETWEEN + [2]


def test_a_short_prompt_overtakes_and_the_first_comer_goes_on() -> None:
    runner = FakeRunner()
    observed = observed_worker(runner, tokens=16, drafts=0)
    observed.add(1, LONG, GREEDY)
    observed.add(2, LONG[60:], GREEDY)
    observed.add(3, [9, 9, 9, 9, 9, 9], GREEDY)
    observed.run(steps=STEPS_BETWEEN + 2)
    shares = [
        {row_slice.slot: len(row_slice.token_ids) for row_slice in row_slices} for row_slices in runner.steps
    ]
    assert shares[0] == {0: 8, 1: 2, 2: 6}
    assert shares[-1] == {0: 8, 1: 7, 2: 1}


def test_running_sequences_are_limited_by_streams_and_by_rows() -> None:
    for slots, streams in ((2, 5), (5, 2)):
        runner = FakeRunner(slots=slots)
        observed = observed_worker(runner, streams=streams)
        prompts = {number: [number, 1, 2] for number in range(1, 8)}
        for number, prompt in prompts.items():
            observed.add(number, prompt, GREEDY)
        observed.run()
        assert max(len(row_slices) for row_slices in runner.steps) == 2
        assert observed.texts == {number: alone(prompt, GREEDY)[0] for number, prompt in prompts.items()}


def test_candidates_of_one_request_read_their_prompt_once() -> None:
    runner = FakeRunner()
    observed = observed_worker(runner)
    tasks = [generation(6, temperature=1.0, seed=seed) for seed in range(3)]
    for number, task in enumerate(tasks):
        observed.add(number, LONG, task)
    observed.run()
    read = sum(len(row_slice.token_ids) for row_slices in runner.steps for row_slice in row_slices)
    assert read < len(LONG) * 2
    assert observed.texts == {number: alone(LONG, task)[0] for number, task in enumerate(tasks)}


@pytest.mark.parametrize(("salts", "readings"), [("aa", 1), ("ab", 2)])
def test_only_sequences_with_the_same_salt_wait_for_each_other_s_prompt(salts: str, readings: int) -> None:
    runner = FakeRunner()
    observed = observed_worker(runner)
    for number, salt in enumerate(salts):
        observed.add(number, LONG, replace(generation(1), cache_salt=salt))
    observed.add(2, LONG, Score(1, salts[0]))
    observed.run()
    read = sum(len(row_slice.token_ids) for row_slices in runner.steps for row_slice in row_slices)
    assert read // len(LONG) == readings
    assert observed.worker.schedule.counts.reused_tokens > len(LONG) * (2 - readings)


def test_drafts_save_steps_and_change_nothing() -> None:
    task = generation(100)
    prompt = [1, 2, 3, 4]
    steps: list[int] = []
    for drafts in (0, 8):
        runner = FakeRunner()
        observed = observed_worker(runner, drafts=drafts)
        observed.add(1, prompt, task)
        observed.run()
        assert observed.texts[1] == alone(prompt, task)[0]
        assert len(observed.texts[1]) > 50
        steps.append(len(runner.steps))
    assert steps[1] < steps[0] * 0.7


def test_the_counts_add_up() -> None:
    for prefix_cache in (True, False):
        runner = FakeRunner()
        observed = observed_worker(runner, prefix_cache=prefix_cache)
        for number in range(2):
            observed.add(number, LONG, generation(20))
            observed.run()
        counts = observed.worker.schedule.counts
        assert (counts.sequences, counts.prompt_tokens) == (2, 2 * len(LONG) - 2)
        assert counts.reused_tokens == (len(LONG) - 1 if prefix_cache else 0)
        steps = runner.steps
        computed = sum(len(row_slice.token_ids) for row_slices in steps for row_slice in row_slices)
        assert counts.computed_tokens == computed
        assert 0 < counts.accepted_tokens <= counts.drafted_tokens


def test_drafts_share_a_step_s_budget() -> None:
    runner = FakeRunner(slots=4)
    observed = observed_worker(runner, drafts=8, streams=4)
    for number in range(1, 5):
        observed.add(number, [number, 1, 2, 3], generation(60))
    observed.run(steps=1)
    observed.run()
    longest = {len(row_slices): 0 for row_slices in runner.steps}
    for row_slices in runner.steps[1:]:
        longest[len(row_slices)] = max(
            longest[len(row_slices)], *(len(row_slice.token_ids) for row_slice in row_slices), 0
        )
    assert longest[4] == 1 + 8 // 4
    assert all(tokens <= 1 + 8 // streams for streams, tokens in longest.items())


def test_a_row_that_is_full_ends_the_text() -> None:
    runner = FakeRunner(slot_tokens=20)
    observed = observed_worker(runner)
    observed.add(1, [3, 1, 4, 1, 5], generation(100))
    observed.add(2, [1] * 19, generation(100))
    observed.add(3, [1] * 20, generation(100))
    observed.run()
    assert observed.texts[1] == alone([3, 1, 4, 1, 5], generation(100), row_tokens=20)[0]
    assert observed.finishes == {1: "length", 2: "length"}
    assert "20 tokens" in observed.failures[3]


def test_a_failed_step_fails_those_in_it_and_others_go_on() -> None:
    runner = FakeRunner(slots=2)
    observed = observed_worker(runner)
    for number in (1, 2, 3):
        observed.add(number, [number, 4, 4], GREEDY)
    observed.run(steps=2)
    runner.fails = 1
    observed.run()
    assert set(observed.failures) == {1, 2}
    assert observed.failures[1].endswith("out of memory, says the script Lower max_streams or kv_cache_gb.")
    assert observed.texts[3] == alone([3, 4, 4], GREEDY)[0]
    assert observed.worker.failures == 0
    runner.fails = FAILURES_IN_A_ROW
    for number in range(4, 4 + FAILURES_IN_A_ROW):
        observed.add(number, [number, 4], GREEDY)
        observed.run()
    assert observed.worker.failures == FAILURES_IN_A_ROW


def test_scoring_continues_from_a_known_prompt() -> None:
    runner = FakeRunner()
    observed = observed_worker(runner)
    for number, continuation in enumerate(([7, 8, 9], [7, 8, 1, 2])):
        given = [*LONG[:100], *continuation]
        observed.add(number, given, Score(len(continuation)))
        observed.run()
        assert observed.scores[number] == alone(given, Score(len(continuation)))[1]
    assert sum(len(row_slice.token_ids) for row_slice in runner.steps[-1]) <= 4


class Lifecycles(RuleBasedStateMachine):
    """Requests with shared beginnings start, and end by themselves, by cancellation or by a failed step."""

    begun = 0

    @initialize(
        slots=st.integers(1, 4), tokens=st.sampled_from([4, 24, 200]), drafts=st.sampled_from([0, 30])
    )
    def start(self, slots: int, tokens: int, drafts: int) -> None:
        self.runner = FakeRunner(slots)
        self.observed = observed_worker(self.runner, tokens=tokens, drafts=drafts)
        self.asked: dict[int, tuple[list[int], Task]] = {}
        self.active: set[int] = set()

    @rule(
        beginning=st.sampled_from([(0, 1), (0, 1), (40, 1), (7, 3)]),
        length=st.integers(1, 100),
        own=st.lists(st.integers(1, 23), max_size=4),
        task=st.one_of(
            st.builds(generation, st.integers(1, 60)),
            st.builds(
                generation, st.integers(1, 30), st.just(1.0), st.sampled_from([0.8, 1.0]), st.integers(0, 3)
            ),
            st.builds(Score, st.just(1)),
        ),
        cache_salt=st.sampled_from(["one", "two"]),
    )
    def add(
        self, beginning: tuple[int, int], length: int, own: list[int], task: Task, cache_salt: str
    ) -> None:
        skipped, stride = beginning
        token_ids = [*(LONG * 4)[skipped::stride][:length], *own]
        if isinstance(task, Score):
            token_ids = [5, *token_ids]
            task = Score(min(len(token_ids) - 1, 3))
        task = replace(task, cache_salt=cache_salt)
        number = len(self.asked) + 1
        self.asked[number] = (token_ids, task)
        self.active.add(number)
        self.observed.add(number, token_ids, task)
        Lifecycles.begun += 1

    @rule(steps=st.integers(1, 5))
    def step(self, steps: int) -> None:
        self.observed.run(steps)
        self._check_ended()

    @precondition(lambda self: self.active)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.active)))
        self.observed.worker.take(CancelSequence(number))
        self.active.remove(number)
        assert alone(*self.asked[number])[0].startswith(self.observed.texts[number])

    @precondition(lambda self: self.active)
    @rule()
    def fail(self) -> None:
        self.runner.fails = 1
        self.observed.run(1)
        failed = set(self.observed.failures) & self.active
        assert failed
        self.active -= failed

    @invariant()
    def rows_are_what_was_computed(self) -> None:
        rows = self.observed.worker.rows.all
        for row in rows:
            assert row.tokens == self.runner.rows[row.slot][: len(row.tokens)]
        running = self.observed.worker.schedule.running
        assert [row.slot for row in rows if row.busy] == sorted(row.slot for row in running.values())
        assert self.observed.worker.schedule.has_work == bool(self.active)
        assert set(self.observed.worker.sequences) == self.active

    def teardown(self) -> None:
        if hasattr(self, "observed"):
            self.observed.run()
            self._check_ended()
            assert not self.active
            assert self.observed.worker.rows.busy_ratio == 0

    def _check_ended(self) -> None:
        for number in self.active & set(self.observed.finishes):
            text, scores = alone(*self.asked[number])
            assert self.observed.texts[number] == text
            assert self.observed.scores[number] == scores
            self.active.remove(number)


def test_a_thousand_lifecycles_leak_nothing_and_change_nothing() -> None:
    run_state_machine_as_test(
        Lifecycles,
        settings=settings(
            max_examples=250,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Lifecycles.begun >= 1000
