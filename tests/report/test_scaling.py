import math

import pytest

from trainyard.config.catalogue import Model
from trainyard.estimate.parameters import parameters_without_embeddings
from trainyard.report.pages import scaling
from trainyard.report.render import style
from trainyard.report.results.runs import read_runs


@pytest.mark.parametrize(
    ("layers", "width", "loss", "perplexity"),
    [
        (8, 512, 3.482618529842513, 32.54483020726001),
        (10, 640, 3.32654107284093, 27.8418719514438),
        (12, 768, 3.2042232768969785, 24.63635695536824),
    ],
)
def test_kaplans_prediction_is_the_published_one_to_the_last_digit(layers, width, loss, perplexity):
    prediction = scaling.predict_kaplan(layers, width)
    assert prediction.loss == loss
    assert prediction.perplexity == perplexity
    assert prediction.parameters == 12 * layers * width**2


def points(losses):
    return [
        scaling.Point(f"r{size}", f"m{size}", size, loss, scaling.predict(size))
        for size, loss in zip((10**5, 10**6, 10**7, 10**8), losses, strict=False)
    ]


def test_a_power_law_is_found_again_with_its_exponent_and_scale():
    law = scaling.fit(points([(8.8e13 / 10**power) ** 0.076 for power in (5, 6, 7, 8)]))
    assert law is not None
    assert law.exponent == pytest.approx(0.076, rel=1e-9)
    assert law.scale == pytest.approx(8.8e13, rel=1e-6)
    assert (law.error, law.low, law.high) == (None, None, None)  # no point lies off the line


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ([2.0, 1.9], "A fit needs 3 sizes or more; this study has 2."),
        ([2.0, 2.0, 2.0], "No power law is fitted: every size has the same loss."),
        ([2.0, 1.0, 0.0], "No power law is fitted: a loss of 0 has no logarithm."),
    ],
)
def test_where_nothing_is_fitted_it_says_why(losses, reason):
    assert scaling.fit(points(losses)) is None
    assert scaling.describe_fit(points(losses)) == reason


def test_noise_widens_the_interval_of_the_exponent_around_the_truth():
    law = scaling.fit(points([4.0 * 1.02, 4.0 * 10**-0.1 * 0.98, 4.0 * 10**-0.2 * 1.02, 4.0 * 10**-0.3 * 0.98]))
    assert law is not None
    assert law.low is not None
    assert law.high is not None
    assert law.low < 0.1 < law.high
    assert law.high - law.low > 2e-3


def test_sizes_of_one_loss_get_no_fit():
    assert scaling.fit(points([2.0, 2.0, 2.0])) is None


def test_two_sizes_get_no_fit_but_a_sentence(empty):
    assert scaling.fit(points([4.0, 3.0])) is None
    assert scaling.describe_fit(points([4.0, 3.0])) == "A fit needs 3 sizes or more; this study has 2."
    scaling.draw(empty.study, runs=[], models={}, output=empty.root / "scaling.svg")
    assert "validation loss" in (empty.root / "scaling.svg").read_text()


def test_only_finished_runs_count_and_the_best_of_each_model(full):
    full.add_run("gpt2-1m-s2", seed=2, end=1.1)
    found = scaling.gather(full.study, read_runs(full.runs), full.models)
    assert [point.model for point in found] == ["gpt2-250k", "gpt2-500k", "gpt2-1m"]
    assert found[-1].name == "gpt2-1m-s2"
    assert found[-1].parameters == parameters_without_embeddings(full.models["gpt2-1m"])


def test_a_published_loss_of_a_known_model_is_a_point_of_its_own(full):
    shape = {"layers": 12, "width": 768, "heads": 12, "context": 1024, "vocabulary": 50257}
    known = Model.model_validate({"title": "GPT-2", "family": "gpt2", "tokenizer": "gpt2", "shape": shape})
    found = scaling.gather(full.study, read_runs(full.runs), {**full.models, "gpt2-124m": known})
    assert found[-1].published
    assert found[-1].loss == 1.21
    law = scaling.fit(found[:-1])
    assert law is not None
    assert math.isfinite(law.loss(found[-1].parameters))


def test_losses_on_two_datasets_are_not_fitted_together(full):
    full.add_run("elsewhere", dataset="other", end=0.2)
    found = scaling.gather(full.study, read_runs(full.runs), full.models)
    assert "elsewhere" not in {point.name for point in found}


def test_a_fit_whose_exponent_may_be_zero_is_no_trend():
    text = scaling.describe_fit(points([0.90, 0.81, 0.84]))
    assert text.startswith("No trend of loss with size over 3 sizes from 100k to 10.0M parameters")
    assert "which includes 0" in text
    assert "m10000000 has 0.840 nats where the smaller m1000000 has 0.810" in text


def test_a_fall_with_every_size_over_too_few_points_for_a_law_says_both(tmp_path):
    losses = [1.025, 0.901, 0.841]
    text = scaling.describe_fit(points(losses))
    assert text.startswith("Loss falls with every size, but there are too few points for a law over 3 sizes")
    assert "which includes 0" in text
    remark, _ = drawn(tmp_path, losses)
    assert "Too few points for a law" in remark
    assert "No trend" not in remark


def test_a_fall_in_loss_with_every_size_is_a_trend():
    assert scaling.describe_fit(points([4.0, 3.36, 2.82, 2.38])).startswith("Loss falls as N to the power of")


def drawn(tmp_path, losses):
    with style.figure(tmp_path / "a.svg") as drawing:
        remark = scaling._panel(drawing.add_axes((0.1, 0.1, 0.6, 0.8)), points(losses))
    return remark, (tmp_path / "a.svg").read_text()


def test_kaplans_law_is_drawn_only_near_the_losses_and_always_said_to_be_of_web_text(tmp_path):
    for losses, near in (([5.1, 4.2, 3.6], True), ([0.9, 0.8, 0.7], False)):
        remark, _ = drawn(tmp_path, losses)
        assert ("is not near" in remark) is not near
        assert "web text in a BPE" in remark
