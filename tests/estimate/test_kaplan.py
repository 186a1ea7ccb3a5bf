"""Kaplan's formulas against the values that others published of them."""

import pytest

from trainyard.estimate.kaplan import efficient_steps, efficient_tokens, learning_rate, predict_shape


# mosaicml/composer's model cards of GPT-2 52M, 83M and 125M
@pytest.mark.parametrize(
    ("layers", "width", "loss", "perplexity"),
    [
        (8, 512, 3.482618529842513, 32.54483020726001),
        (10, 640, 3.32654107284093, 27.8418719514438),
        (12, 768, 3.2042232768969785, 24.63635695536824),
    ],
)
def test_kaplans_prediction_is_the_published_one_to_the_last_digit(layers, width, loss, perplexity):
    prediction = predict_shape(layers, width)
    assert prediction.loss == loss
    assert prediction.perplexity == perplexity
    assert prediction.parameters == 12 * layers * width**2


def test_at_one_petaflop_day_the_budgets_are_the_papers_factors():
    assert efficient_tokens(1.3e9) == pytest.approx(2e10)
    assert efficient_steps(1.3e9) == pytest.approx(5.4e3)
    assert efficient_tokens(1.3e10) / efficient_tokens(1.3e9) == pytest.approx(10 ** (0.27 / 0.73))


def test_the_rate_falls_with_the_logarithm_of_the_size():
    # N of 12 blocks of width 768, by the paper's equation: 0.003239 - 0.0001395 * 18.2574
    assert learning_rate(12 * 12 * 768**2) == pytest.approx(6.921e-4, rel=1e-4)
