"""Tests of the gate's statistics against closed forms: Holm, Jeffreys, Student, McNemar, standard errors."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from eval_humaneval.gate.sample_size import size_to_show
from eval_humaneval.gate.statistics import POOL, Evidence, PairedCounts, gather_evidence, holm

ALPHA = 0.05


def paired_counts(
    base: Sequence[int], candidate: Sequence[int], samples: int = 1, languages: int = 1, greedy: bool = False
) -> PairedCounts:
    """Return the same answers to the same problems in each of `languages`."""
    problems = len(base)
    return PairedCounts(
        languages=tuple(f"l{number}" for number in range(languages)),
        language=np.repeat(np.arange(languages), problems),
        cluster=np.tile(np.arange(problems), languages),
        base=np.tile(np.array(base, dtype=np.float64), languages),
        candidate=np.tile(np.array(candidate, dtype=np.float64), languages),
        samples=samples,
        greedy=greedy,
    )


def evidence(
    *arguments: Sequence[int], samples: int = 1, greedy: bool = False, resamples: int = 20_000
) -> Evidence:
    counts = paired_counts(*arguments, samples=samples, greedy=greedy)
    return gather_evidence(counts, seed=0, resamples=resamples)["l0"]


def lost(count: int, problems: int) -> Evidence:
    """Return the evidence of greedy runs: the base passes all problems, the candidate all but `count`."""
    return evidence([1] * problems, [0] * count + [1] * (problems - count), greedy=True)


def test_holm_by_a_worked_example() -> None:
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.7, "b": 0.6}) == {"b": 1.0, "a": 1.0}


@pytest.mark.parametrize(
    ("count", "problems"), [(0, 1), (0, 5), (4, 5), (0, 48), (1, 48), (4, 48), (1, 164), (9, 164)]
)
def test_lower_bound_of_whole_problems_lost_is_a_beta_quantile(count: int, problems: int) -> None:
    expected = -stats.beta.ppf(1 - ALPHA, count + 0.5, problems - count)
    assert lost(count, problems).lower(ALPHA) == pytest.approx(expected, rel=0.05)


def test_identical_greedy_runs_show_what_their_number_can() -> None:
    same = lost(0, 48)
    assert (same.difference, same.error, same.p_value(0.01), same.upper(ALPHA)) == (0, 0, 1, 0)
    assert same.lower(ALPHA) == pytest.approx(-same.showable(ALPHA, power=0.99))
    assert same.smallest_sampled_share == pytest.approx(1 - 0.2 ** (1 / 48))


@pytest.mark.parametrize("problems", [30, 200])
def test_bounds_and_p_value_are_close_to_students_where_his_holds(problems: int) -> None:
    rng = np.random.default_rng(1)
    rates = rng.uniform(0.2, 0.8, problems)
    base, candidate = rng.binomial(20, rates), rng.binomial(20, rates - 0.05)
    found = evidence(base.tolist(), candidate.tolist(), samples=20)
    difference = (candidate - base) / 20
    error = stats.sem(difference)
    half = stats.t.ppf(1 - ALPHA, problems - 1) * error
    assert found.error == pytest.approx(error)
    assert found.upper(ALPHA) == pytest.approx(difference.mean() + half, abs=0.06 * half)
    p_value = stats.ttest_1samp(difference, difference.mean() + 2 * error, alternative="less").pvalue
    assert found.p_value(-difference.mean() - 2 * error) == pytest.approx(p_value, rel=0.2)
    # The lower bound adds half a problem that is lost entirely.
    assert -2 / problems < found.lower(ALPHA) - (difference.mean() - half) < 0


@pytest.mark.parametrize(("worse", "better"), [(12, 3), (9, 9), (15, 1)])
def test_p_value_of_flips_is_close_to_mcnemars(worse: int, better: int) -> None:
    base = [1] * worse + [0] * better + [1] * 40 + [0] * 40
    candidate = [0] * worse + [1] * better + [1] * 40 + [0] * 40
    found = evidence(base, candidate, greedy=True).p_value(0.0)
    middle = 0.5 * (
        stats.binomtest(worse, worse + better, alternative="greater").pvalue
        + stats.binomtest(worse + 1, worse + better, alternative="greater").pvalue
    )
    assert middle / 2.5 < found < middle * 2.5


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_few_one_sided_changes_are_no_proof(count: int) -> None:
    assert lost(count, 48).p_value(0.0) >= 0.5**count
    assert lost(count, count + 1).p_value(0.0) >= 0.5**count


def test_comparisons_are_paired() -> None:
    """Problems differ far more than the two runs do: an unpaired comparison would not see the difference."""
    base = [0] * 30 + [20] * 30
    candidate = [0] * 30 + [19] * 30
    found = evidence(base, candidate, samples=20)
    unpaired = np.sqrt(2) * stats.sem(np.array(base) / 20)
    assert found.error < unpaired / 10
    assert found.p_value(0.01) < 0.001


def test_the_pool_clusters_a_problem_over_its_languages() -> None:
    rng = np.random.default_rng(2)
    base, candidate = rng.binomial(10, 0.5, 40).tolist(), rng.binomial(10, 0.4, 40).tolist()
    found = gather_evidence(paired_counts(base, candidate, 10, languages=5), seed=0, resamples=20_000)
    pool, alone = found[POOL], found["l0"]
    # Five equal languages hold no more evidence than one, although they hold five times the samples.
    assert pool.error == pytest.approx(alone.error)
    assert pool.upper(ALPHA) == pytest.approx(alone.upper(ALPHA))
    assert (pool.problems, pool.clusters) == (200, 40)
    assert pool.noise == pytest.approx(alone.noise / np.sqrt(5))


@pytest.mark.parametrize("samples", [2, 10])
def test_sampling_noise_is_separated_from_the_variance_between_problems(samples: int) -> None:
    """Between two runs of one model, all of the error is sampling noise, counted once."""
    rng = np.random.default_rng(3)
    rates = rng.beta(0.2, 0.3, 20_000)
    base, candidate = (rng.binomial(samples, rates).tolist() for _ in range(2))
    found = evidence(base, candidate, samples=samples, resamples=10)
    truth = np.sqrt(2 * (rates * (1 - rates)).mean() / samples / len(rates))
    assert found.noise == pytest.approx(truth, rel=0.03)
    assert found.base_noise == pytest.approx(truth, rel=0.03)
    assert found.error == pytest.approx(truth, rel=0.03)


def test_one_random_sample_counts_as_the_largest_possible_noise() -> None:
    found = evidence([1, 0] * 50, [1, 0] * 50)
    assert found.base_noise == pytest.approx(np.sqrt(2 * 0.25 / 100))
    assert evidence([1, 0] * 50, [1, 0] * 50, greedy=True).base_noise == 0


def test_more_samples_or_problems_show_a_smaller_margin_as_advised() -> None:
    rng = np.random.default_rng(4)
    rates = rng.beta(0.2, 0.3, 164)
    found = evidence(*(rng.binomial(5, rates).tolist() for _ in range(2)), samples=5)
    size = size_to_show(found, 3.0, ALPHA, 5)
    assert size.samples is not None
    assert size.problems is not None
    assert found.showable(ALPHA, 0.8, samples=size.samples / 5) <= 0.03
    assert found.showable(ALPHA, 0.8, samples=0.9 * size.samples / 5) > 0.03
    assert found.showable(ALPHA, 0.8, problems=size.problems / 164) <= 0.03
    assert found.showable(ALPHA, 0.8, problems=0.9 * size.problems / 164) > 0.03


def test_few_problems_may_need_more_problems_not_samples() -> None:
    found = evidence([10] * 20, [5] * 20, samples=10)
    size = size_to_show(found, 4.0, ALPHA, 10)
    assert size.samples is None
    assert size.problems is not None
    assert size.problems == pytest.approx(stats.gamma.ppf(1 - ALPHA, 0.5) / 0.04, rel=0.06)


@pytest.mark.parametrize(
    ("base", "candidate"), [([0] * 5, [0] * 5), ([10] * 5, [10] * 5), ([10], [0]), ([10] * 5, [0] * 5)]
)
def test_degenerate_sets_have_finite_bounds(base: list[int], candidate: list[int]) -> None:
    found = evidence(base, candidate, samples=10)
    low, high = found.lower(ALPHA), found.upper(ALPHA)
    assert -1 <= low <= found.difference <= high <= 1
    assert low < -0.3  # so few problems show little
    assert 0.5 ** len(base) <= found.p_value(0.01) <= 1
