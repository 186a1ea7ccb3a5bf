"""The interval of the best of several: it holds the truth as often as it says, though the luckiest was chosen."""

import numpy as np
import pytest
from scipy import stats

from trainyard.core.statistics import Score, estimate_proportion
from trainyard.report.statistics.selection import correct_for_choice, describe_choice, mean_interval


@pytest.mark.parametrize("among", [3, 8, 16])
@pytest.mark.parametrize("items", [100, 2000])
def test_the_interval_of_the_luckiest_of_equal_models_holds_the_truth(among: int, items: int) -> None:
    generator = np.random.default_rng(0)
    alone, corrected = 0, 0
    for _ in range(400):
        rights = generator.random((among, items)) < 0.37
        best = estimate_proportion(rights[rights.mean(axis=1).argmax()])
        value = Score(best.value, best.standard_error, best.low, best.high)
        for at, interval in enumerate((value.interval, correct_for_choice(value, "acc", items, among).interval)):
            assert interval is not None
            held = interval[0] <= 0.37 <= interval[1]
            alone, corrected = alone + (held and at == 0), corrected + (held and at == 1)
    assert corrected >= 367  # 380 of 400 are expected at least: 367 and more are 99.7 % of binomial draws
    if among == 16:
        assert alone < 300  # as it was said before: 65 %


def test_of_one_alone_nothing_is_corrected() -> None:
    value = Score(0.5, 0.05, 0.4, 0.6)
    assert correct_for_choice(value, "acc", 100, 1) is value
    assert describe_choice(1) == ""
    assert describe_choice(3) == ", corrected for choosing the best of 3"
    assert correct_for_choice(Score(0.5), "acc", 1, 3) == Score(0.5)


def test_a_perplexity_is_widened_as_a_ratio_and_rouge_within_its_bounds() -> None:
    wider = stats.t.ppf(0.9875, 49) / stats.t.ppf(0.975, 49)
    found = correct_for_choice(Score(20.0, 1.0, 18.0, 22.0), "perplexity_word", 50, 2)
    assert found.interval == pytest.approx([20 * (18 / 20) ** wider, 20 * (22 / 20) ** wider])
    found = correct_for_choice(Score(98.0, 1.0, 94.0, 99.5), "rougeL", 50, 2)
    assert found.interval == pytest.approx([98 - 4 * wider, min(100, 98 + 1.5 * wider)])


def test_an_interval_that_no_number_holds_is_left_out_or_without_end() -> None:
    assert correct_for_choice(Score(1e20, 1.0, 1e-200, 1e250), "perplexity_word", 2, 8).interval
    assert correct_for_choice(Score(2.0, 1.0, -0.5, 4.0), "perplexity_word", 50, 2).interval is None


def test_a_mean_over_seeds_has_an_interval_within_its_bounds_and_none_of_two() -> None:
    low, high = mean_interval([11.0, 12.0, 13.0], "validation_loss", 4) or (0.0, 0.0)
    # Student's t with 2 degrees of freedom at 1 - 0.025 / 4 is 8.860
    assert (high - low) / 2 == pytest.approx(8.860 / 3**0.5, rel=1e-3)
    assert mean_interval([0.5, 0.9, 0.95], "acc", 3) == (0.0, 1.0)
    low, _ = mean_interval([1.0, 2.0, 3.0], "validation_loss", 4) or (1.0, 1.0)
    assert low == 0.0
    low, high = mean_interval([8.0, 9.0, 10.0], "perplexity_word", 1) or (0.0, 0.0)
    assert 0 < low < 8
    assert high > 10
    assert mean_interval([0.5, 0.6], "acc", 1) is None
    assert mean_interval([0.5, 0.5, 0.5], "acc", 1) is None
