"""What a step holds, and that a sequence gets what it would get alone, whatever happens around it."""

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

from server.engine.scheduler.messages import Close
from server.engine.scheduler.schedule import STEPS_BETWEEN, Generate, Score
from server.engine.scheduler.worker import FAILURES_IN_A_ROW
from tests.server.engine.fake_runner import FakeRunner, Heard, alone, served

LONG = [1 + (at * at) % 23 for at in range(130)]
GREEDY = Generate(max_tokens=12)


def test_a_long_prompt_stalls_nobody() -> None:
    runner = FakeRunner()
    heard = Heard(served(runner, tokens=8, drafts=0))
    heard.add(1, [5, 6], Generate(max_tokens=30, temperature=1.0, seed=3))
    heard.run(steps=1)
    heard.add(2, LONG, GREEDY)
    heard.run(steps=3 * (STEPS_BETWEEN + 1))
    turn = [*[[(0, 1)]] * STEPS_BETWEEN, [(0, 1), (1, 7)]]
    sizes = [[(chunk.slot, len(chunk.token_ids)) for chunk in chunks] for chunks in runner.steps[1:]]
    assert sizes == turn * 3


def test_prompts_are_read_however_many_generate() -> None:
    runner = FakeRunner(slots=12)
    heard = Heard(served(runner, tokens=8, drafts=0, streams=12))
    for number in range(10):
        heard.add(number, [number + 1, 2], Generate(max_tokens=40, temperature=1.0, seed=number))
    heard.run(steps=4 * (STEPS_BETWEEN + 1))
    heard.add(10, LONG, GREEDY)
    heard.run(steps=STEPS_BETWEEN + 1)
    sizes = [len(chunks[-1].token_ids) for chunks in runner.steps[-STEPS_BETWEEN - 1 :]]
    assert sorted(sizes) == [1] * STEPS_BETWEEN + [2]


def test_a_short_prompt_overtakes_and_the_first_comer_goes_on() -> None:
    runner = FakeRunner()
    heard = Heard(served(runner, tokens=16, drafts=0))
    heard.add(1, LONG, GREEDY)
    heard.add(2, LONG[60:], GREEDY)
    heard.add(3, [9, 9, 9, 9, 9, 9], GREEDY)
    heard.run(steps=STEPS_BETWEEN + 2)
    shares = [{chunk.slot: len(chunk.token_ids) for chunk in chunks} for chunks in runner.steps]
    assert shares[0] == {0: 8, 1: 2, 2: 6}
    assert shares[-1] == {0: 8, 1: 7, 2: 1}


def test_what_runs_together_is_bounded_by_streams_and_by_rows() -> None:
    for slots, streams in ((2, 5), (5, 2)):
        runner = FakeRunner(slots=slots)
        heard = Heard(served(runner, streams=streams))
        prompts = {number: [number, 1, 2] for number in range(1, 8)}
        for number, prompt in prompts.items():
            heard.add(number, prompt, GREEDY)
        heard.run()
        assert max(len(chunks) for chunks in runner.steps) == 2
        assert heard.texts == {number: alone(prompt, GREEDY)[0] for number, prompt in prompts.items()}


def test_candidates_of_one_request_read_their_prompt_once() -> None:
    runner = FakeRunner()
    heard = Heard(served(runner))
    tasks = [Generate(max_tokens=6, temperature=1.0, seed=seed) for seed in range(3)]
    for number, task in enumerate(tasks):
        heard.add(number, LONG, task)
    heard.run()
    read = sum(len(chunk.token_ids) for chunks in runner.steps for chunk in chunks)
    assert read < len(LONG) * 2
    assert heard.texts == {number: alone(LONG, task)[0] for number, task in enumerate(tasks)}


def test_drafts_save_steps_and_change_nothing() -> None:
    task = Generate(max_tokens=100)
    prompt = [1, 2, 3, 4]
    steps: list[int] = []
    for drafts in (0, 8):
        runner = FakeRunner()
        heard = Heard(served(runner, drafts=drafts))
        heard.add(1, prompt, task)
        heard.run()
        assert heard.texts[1] == alone(prompt, task)[0]
        assert len(heard.texts[1]) > 50
        steps.append(len(runner.steps))
    assert steps[1] < steps[0] * 0.7


def test_drafts_share_a_step_s_budget() -> None:
    runner = FakeRunner(slots=4)
    heard = Heard(served(runner, drafts=8, streams=4))
    for number in range(1, 5):
        heard.add(number, [number, 1, 2, 3], Generate(max_tokens=60))
    heard.run(steps=1)
    heard.run()
    longest = {len(chunks): 0 for chunks in runner.steps}
    for chunks in runner.steps[1:]:
        longest[len(chunks)] = max(longest[len(chunks)], *(len(chunk.token_ids) for chunk in chunks), 0)
    assert longest[4] == 1 + 8 // 4
    assert all(tokens <= 1 + 8 // streams for streams, tokens in longest.items())


def test_a_row_that_is_full_ends_the_text() -> None:
    runner = FakeRunner(slot_tokens=20)
    heard = Heard(served(runner))
    heard.add(1, [3, 1, 4, 1, 5], Generate(max_tokens=100))
    heard.add(2, [1] * 19, Generate(max_tokens=100))
    heard.add(3, [1] * 20, Generate(max_tokens=100))
    heard.run()
    assert heard.texts[1] == alone([3, 1, 4, 1, 5], Generate(max_tokens=100), row_tokens=20)[0]
    assert heard.finishes == {1: "length", 2: "length"}
    assert "20 tokens" in heard.failures[3]


def test_a_failed_step_fails_those_in_it_and_others_go_on() -> None:
    runner = FakeRunner(slots=2)
    heard = Heard(served(runner))
    for number in (1, 2, 3):
        heard.add(number, [number, 4, 4], GREEDY)
    heard.run(steps=2)
    runner.fails = 1
    heard.run()
    assert set(heard.failures) == {1, 2}
    assert heard.failures[1].endswith("out of memory, says the script Lower max_streams or kv_cache_gb.")
    assert heard.texts[3] == alone([3, 4, 4], GREEDY)[0]
    assert heard.worker.failures == 0
    runner.fails = FAILURES_IN_A_ROW
    for number in range(4, 4 + FAILURES_IN_A_ROW):
        heard.add(number, [number, 4], GREEDY)
        heard.run()
    assert heard.worker.failures == FAILURES_IN_A_ROW


def test_scoring_goes_on_from_a_prompt_that_is_known() -> None:
    runner = FakeRunner()
    heard = Heard(served(runner))
    for number, continuation in enumerate(([7, 8, 9], [7, 8, 1, 2])):
        given = [*LONG[:100], *continuation]
        heard.add(number, given, Score(len(continuation)))
        heard.run()
        assert heard.scores[number] == alone(given, Score(len(continuation)))[1]
    assert sum(len(chunk.token_ids) for chunk in runner.steps[-1]) <= 4


class Lifecycles(RuleBasedStateMachine):
    """Requests come with shared beginnings, and end: by themselves, closed, or because a step fails."""

    begun = 0

    @initialize(
        slots=st.integers(1, 4), tokens=st.sampled_from([4, 24, 200]), drafts=st.sampled_from([0, 30])
    )
    def start(self, slots: int, tokens: int, drafts: int) -> None:
        self.runner = FakeRunner(slots)
        self.heard = Heard(served(self.runner, tokens=tokens, drafts=drafts))
        self.asked: dict[int, tuple[list[int], Generate | Score]] = {}
        self.live: set[int] = set()

    @rule(
        beginning=st.sampled_from([(0, 1), (0, 1), (40, 1), (7, 3)]),
        length=st.integers(1, 100),
        own=st.lists(st.integers(1, 23), max_size=4),
        task=st.one_of(
            st.builds(Generate, st.integers(1, 60)),
            st.builds(
                Generate, st.integers(1, 30), st.just(1.0), st.sampled_from([0.8, 1.0]), st.integers(0, 3)
            ),
            st.builds(Score, st.just(1)),
        ),
    )
    def add(self, beginning: tuple[int, int], length: int, own: list[int], task: Generate | Score) -> None:
        skipped, stride = beginning
        token_ids = [*(LONG * 4)[skipped::stride][:length], *own]
        if isinstance(task, Score):
            token_ids = [5, *token_ids]
            task = Score(min(len(token_ids) - 1, 3))
        number = len(self.asked) + 1
        self.asked[number] = (token_ids, task)
        self.live.add(number)
        self.heard.add(number, token_ids, task)
        Lifecycles.begun += 1

    @rule(steps=st.integers(1, 5))
    def step(self, steps: int) -> None:
        self.heard.run(steps)
        self._see_who_ended()

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.live)))
        self.heard.worker.take(Close(number))
        self.live.remove(number)
        assert alone(*self.asked[number])[0].startswith(self.heard.texts[number])

    @precondition(lambda self: self.live)
    @rule()
    def fail(self) -> None:
        self.runner.fails = 1
        self.heard.run(1)
        failed = set(self.heard.failures) & self.live
        assert failed
        self.live -= failed

    @invariant()
    def rows_are_what_was_computed(self) -> None:
        rows = self.heard.worker._rows._rows
        for row in rows:
            assert row.tokens == self.runner.rows[row.slot][: len(row.tokens)]
        running = self.heard.worker._schedule._running
        assert [row.slot for row in rows if row.busy] == sorted(row.slot for row in running.values())
        assert self.heard.worker.has_work == bool(self.live)
        assert set(self.heard.worker._streams) == self.live

    def teardown(self) -> None:
        if hasattr(self, "heard"):
            self.heard.run()
            self._see_who_ended()
            assert not self.live
            assert self.heard.worker._rows.busy_ratio == 0

    def _see_who_ended(self) -> None:
        for number in self.live & set(self.heard.finishes):
            text, scores = alone(*self.asked[number])
            assert self.heard.texts[number] == text
            assert self.heard.scores[number] == scores
            self.live.remove(number)


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
