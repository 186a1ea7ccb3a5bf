import math

import numpy as np
import pytest

from trainyard.core.statistics import (
    FEWEST,
    Estimate,
    bootstrap_means,
    estimate_proportion,
    estimate_ratio,
    flatten_estimates,
)


def test_the_standard_error_of_a_proportion_is_the_harness_one():
    estimate = estimate_proportion(np.array([True] * 42 + [False] * 58))
    assert estimate.value == 0.42
    assert estimate.standard_error == pytest.approx(math.sqrt(0.42 * 0.58 / 99), rel=1e-15)


def test_the_interval_of_a_proportion_is_wilsons():
    estimate = estimate_proportion(np.array([True] * 42 + [False] * 58))
    z, p, n = 1.959963984540054, 0.42, 100
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    width = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (estimate.low, estimate.high) == pytest.approx((middle - width, middle + width), rel=1e-12)


def test_a_perfect_score_has_an_interval_below_one():
    estimate = estimate_proportion(np.ones(50, dtype=bool))
    assert estimate.standard_error is None  # zero would make any difference infinitely clear
    assert estimate.low is not None
    assert 0.9 < estimate.low < 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_observation_gives_a_value_alone(value: float):
    assert estimate_proportion(np.array([value > 0])) == Estimate(value)
    assert estimate_ratio(np.array([value]), np.ones(1)) == Estimate(value)
    assert bootstrap_means(np.full((1, 2), value), 50, 1) == [Estimate(value)] * 2


@pytest.mark.parametrize("count", [2, 5, 30, 1000])
def test_observations_that_are_all_alike_give_a_value_alone(count: int):
    third, sizes = 100 / 3, np.arange(1.0, count + 1)
    for found in (*bootstrap_means(np.full((count, 2), third), 50, 1), estimate_ratio(third * sizes, sizes)):
        assert found == Estimate(found.value)
        assert found.value == pytest.approx(third)
    assert bootstrap_means(np.zeros((count, 1)), 50, 1) == [Estimate(0.0)]


def test_few_rows_have_students_interval_for_percentiles_would_be_too_narrow():
    (estimate,) = bootstrap_means(np.array([[40.0], [44.0]]), 1000, 1)
    assert (estimate.value, estimate.standard_error) == pytest.approx((42.0, 2.0))
    assert (estimate.low, estimate.high) == pytest.approx((42 - 12.7062 * 2, 42 + 12.7062 * 2), abs=1e-3)


@pytest.mark.parametrize("count", [2, 5, FEWEST - 1])
def test_means_of_few_rows_cover_the_truth_about_as_often_as_they_say(count: int):
    generator = np.random.default_rng(11)
    drawn = [bootstrap_means(generator.normal(50.0, 10.0, (count, 1)), 300, trial)[0] for trial in range(300)]
    covered = [estimate.low is not None and estimate.low <= 50.0 <= (estimate.high or 0.0) for estimate in drawn]
    assert 0.9 < sum(covered) / 300 < 0.99


def test_an_interval_stays_within_what_the_quantity_can_be():
    assert Estimate(42.0, 9.0, -10.0, 120.0).clamp(0, 100) == Estimate(42.0, 9.0, 0, 100)
    assert Estimate(42.0).clamp(0, 100) == Estimate(42.0)


def test_a_ratio_over_equal_denominators_has_the_standard_error_of_a_mean():
    losses = np.array([1.0, 2.0, 4.0, 9.0])
    estimate = estimate_ratio(losses, np.full(4, 2.0))
    assert estimate.value == 2.0
    assert estimate.standard_error == pytest.approx(np.std(losses / 2, ddof=1) / 2)


def test_a_ratio_of_one_document_has_no_interval():
    assert estimate_ratio(np.array([3.0]), np.array([2.0])) == Estimate(1.5)
    assert estimate_ratio(np.array([3.0]), np.array([2.0])).exp() == Estimate(math.exp(1.5))


def test_an_exponential_that_no_number_holds_is_infinite():
    assert Estimate(800.0, 1.0, 798.0, 802.0).exp() == Estimate(math.inf)


def test_an_exponential_keeps_its_value_where_no_number_holds_the_intervals_end():
    assert Estimate(708.0, 1.0, 706.0, 710.0).exp() == Estimate(math.exp(708.0))


def test_an_exponential_carries_the_ends_of_the_interval_over():
    estimate = Estimate(1.0, 0.1, 0.8, 1.2).exp()
    assert estimate == Estimate(math.e, math.e * 0.1, math.exp(0.8), math.exp(1.2))


def test_intervals_of_ratios_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(7)
    covered, trials = 0, 400
    for _ in range(trials):
        tokens = generator.integers(5, 50, 40).astype(float)
        losses = tokens * generator.normal(3.0, 0.5, 40)
        estimate = estimate_ratio(losses, tokens)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 3.0 <= estimate.high
    assert 0.91 < covered / trials < 0.99


def test_bootstrap_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(8)
    covered, trials = 0, 200
    for trial in range(trials):
        (estimate,) = bootstrap_means(generator.normal(50.0, 10.0, (60, 1)), 300, trial)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 50.0 <= estimate.high
    assert 0.89 < covered / trials < 0.99


def test_a_bootstrap_is_the_same_for_the_same_seed_and_another_for_another():
    scores = np.random.default_rng(0).normal(size=(30, 2))
    assert bootstrap_means(scores, 100, 1) == bootstrap_means(scores, 100, 1)
    assert bootstrap_means(scores, 100, 1) != bootstrap_means(scores, 100, 2)


def test_flat_estimates_name_their_parts():
    assert flatten_estimates({"acc": Estimate(0.5, 0.1, 0.4, 0.6)}) == {
        "acc": 0.5,
        "acc_standard_error": 0.1,
        "acc_low": 0.4,
        "acc_high": 0.6,
    }


@pytest.mark.parametrize(("below", "count"), [(0.05, 50), (0.1, 20), (0.32, 20)])
def test_means_of_rows_that_mostly_share_one_score_cover_the_truth_too(below: float, count: int):
    """Of 200 cases 190 are expected; 180 and more are 99.8 % of binomial draws. Percentiles cover 81 to 89 %."""
    generator = np.random.default_rng(12)
    truth, covered = 100 - 40 * below, 0
    for trial in range(200):
        scores = np.where(generator.random(count) < below, generator.uniform(20, 100, count), 100.0)
        found = bootstrap_means(scores[:, None], 300, trial)[0].clamp(0, 100)
        covered += found.low is None or found.low <= truth <= (found.high or 0.0)
    assert covered >= 180
