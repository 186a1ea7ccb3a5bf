import dataclasses

import numpy as np
import pytest

from trainyard.config.catalogue import Model
from trainyard.estimate.kaplan import predict
from trainyard.estimate.parameters import parameters_without_embeddings
from trainyard.report.pages import scaling
from trainyard.report.render import style
from trainyard.report.results.runs import read_runs
from trainyard.report.statistics.power_law import fit

MINUS = "\N{MINUS SIGN}"


SIZES = (10**5, 10**6, 10**7, 10**8, 10**9, 10**10)


def points(losses):
    return [
        scaling.Point(f"r{size}", f"m{size}", size, loss, predict(size), (f"r{size}",))
        for size, loss in zip(SIZES, losses, strict=False)
    ]


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(1.69, 406.4, 0.34), (0.0, 11.4757, 0.076), (0.7, 5.0, 0.2)])
def test_a_law_is_found_again_with_its_floor_and_exponent(floor, scale, exponent):
    law = fit(SIZES, [floor + scale / size**exponent for size in SIZES])
    assert law is not None
    assert (law.exponent, law.floor) == (pytest.approx(exponent, rel=1e-3), pytest.approx(floor, abs=1e-2))
    assert law.loss(3e5) == pytest.approx(floor + scale / 3e5**exponent, rel=1e-3)
    assert law.low == pytest.approx(exponent, abs=5e-3)


@pytest.mark.parametrize("losses", [[1.0, 1.1, 1.2, 1.3, 1.4], [1.0, 1.0, 1.0, 1.0, 1.0]])
def test_losses_that_do_not_fall_have_no_law(losses):
    assert fit(SIZES[:5], losses) is None
    assert "; they don't determine a law (" in scaling.describe_sizes(points(losses), [])[1]


def test_of_two_models_of_one_size_the_better_one_stands_for_it():
    same = [dataclasses.replace(points([1.2, 1.1])[1], parameters=10**5), *points([1.2, 0.9, 0.8])]
    trend, law = scaling.describe_sizes(same, [])
    assert "over 3 sizes from 100k to 10.0M" in trend
    assert "has 1.100" not in law
    assert "needs 2 sizes or more; this study has 1." in scaling.describe_sizes(same[:2], [])[0]


@pytest.mark.parametrize("noise", [0.002, 0.01])
def test_the_interval_of_an_exponent_holds_the_truth_as_often_as_it_says(noise):
    generator = np.random.default_rng(0)
    sizes = np.geomspace(1e7, 1e9, 5)
    held = 0
    for _ in range(100):
        law = fit(sizes, (1.69 + 406.4 / sizes**0.34) * np.exp(generator.normal(0, noise, 5)))
        assert law is not None
        held += (law.low or 0.0) <= 0.34 <= (law.high or 2.0)
    assert 88 <= held <= 100  # 95 are expected; 88 and more are 99.7 % of binomial draws


def test_fewer_than_five_sizes_get_slopes_and_no_law(empty):
    assert fit(SIZES[:4], [4.0, 3.4, 3.0, 2.8]) is None
    _, law = scaling.describe_sizes(points([4.0, 3.2]), [])
    assert law.startswith(f"From size to size loss goes as N to the power of {MINUS}0.097; a law takes 5 sizes")
    assert scaling.describe_sizes(points([4.0]), []) == ["Loss against size needs 2 sizes or more; this study has 1."]
    scaling.draw(empty.study, runs=[], models={}, output=empty.root / "scaling.svg")
    assert "validation loss" in (empty.root / "scaling.svg").read_text()


def test_a_loss_of_zero_has_no_slope():
    assert scaling.fit_points(points([2.0, 1.5, 1.0, 0.5, 0.0])) is None
    assert scaling.describe_sizes(points([2.0, 1.0, 0.0]), [])[1].startswith("No slope is given: a loss is zero")


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


def test_losses_on_two_datasets_are_not_fitted_together(full):
    full.add_run("elsewhere", dataset="other", end=0.2)
    found = scaling.gather(full.study, read_runs(full.runs), full.models)
    assert "elsewhere" not in {point.name for point in found}


def with_rows(empty, losses):
    """Runs of rising size with these losses, and with those of each row, which a test can pair."""
    for point in points(losses):
        empty.add_validation(empty.add_run(point.name, model="gpt2-1m"), point.loss)
    return read_runs(empty.runs)


def test_a_fall_with_every_size_is_never_called_no_trend(empty):
    # the demo's losses: three points on a line of which the exponent's interval held zero
    losses = [1.025, 0.901, 0.841]
    trend, law = scaling.describe_sizes(points(losses), with_rows(empty, losses))
    assert trend == (
        "Loss falls with every size over 3 sizes from 100k to 10.0M parameters without embeddings, each step beyond "
        "noise (sign-flip permutation test on validation rows; largest p = 2e\N{MINUS SIGN}4)."
    )
    assert "a law takes 5 sizes, and this study has 3" in law


def test_a_step_within_noise_is_named(empty):
    losses = [1.025, 0.901, 0.900]
    (trend, _) = scaling.describe_sizes(points(losses), with_rows(empty, losses))
    assert (
        "but not each step is known to be beyond noise: m10000000 has 0.900 nats where the smaller m1000000 has 0.901"
        in trend
    )
    assert "within noise on validation rows: p = " in trend


def test_a_larger_model_with_the_higher_loss_is_named_with_its_test(empty):
    losses = [0.90, 0.81, 0.84]
    (trend, _) = scaling.describe_sizes(points(losses), with_rows(empty, losses))
    assert trend.startswith("Loss does not fall with every size over 3 sizes")
    assert (
        "m10000000 has 0.840 nats where the smaller m1000000 has 0.810 (beyond noise on validation rows: p = " in trend
    )


def test_without_losses_by_row_the_trend_says_that_it_was_not_tested(empty):
    runs = with_rows(empty, [1.0, 0.9])
    (runs[0].folder / "validation.parquet").unlink()
    (trend, _) = scaling.describe_sizes(points([1.0, 0.9]), runs)
    assert "(not tested: r100000: there is no validation.parquet)" in trend


def test_sizes_with_several_seeds_are_compared_over_seeds_and_rows(empty):
    generator = np.random.default_rng(0)
    for model, loss in (("gpt2-250k", 1.0), ("gpt2-1m", 0.8)):
        for seed in (1, 2, 3):
            moved = loss + generator.normal(0, 0.01)
            empty.add_run(f"{model}-{seed}", model=model, seed=seed, end=moved)
    runs = read_runs(empty.runs)
    made = scaling.gather(empty.study, runs, empty.models)
    (trend, _) = scaling.describe_sizes(made, runs)
    assert "each step beyond noise (t-test over seeds and items on validation rows; " in trend


def test_a_size_that_several_recipes_trained_is_corrected_for_the_choice_of_the_best(empty):
    for model, end in (("gpt2-250k", 1.0), ("gpt2-1m", 0.8)):
        for number, recipe in enumerate(("base", "other", "third")):
            empty.add_run(f"{model}-{recipe}", model=model, recipe=recipe, end=end + 0.01 * number)
    runs = read_runs(empty.runs)
    made = scaling.gather(empty.study, runs, empty.models)
    assert [point.among for point in made] == [3, 3]
    (trend, _) = scaling.describe_sizes(made, runs)
    (alone, _) = scaling.describe_sizes([dataclasses.replace(point, among=1) for point in made], runs)
    # of nine pairs: p is nine times that of one
    assert f"largest p = 1e{MINUS}4)." in alone
    assert f"largest p = 9e{MINUS}4, corrected for choosing the best of several of one size)." in trend


def test_a_size_is_at_the_mean_of_its_seeds_and_not_at_the_lowest(empty):
    for seed, end in ((1, 1.0), (2, 1.2), (3, 1.4)):
        empty.add_run(f"r{seed}", seed=seed, end=end)
    runs = read_runs(empty.runs)
    (point,) = scaling.gather(empty.study, runs, empty.models)
    assert point.loss == pytest.approx(np.mean([run.summary["best"]["validation_loss"] for run in runs]))
    assert point.name == "r2"


def drawn(tmp_path, losses):
    with style.figure(tmp_path / "a.svg") as drawing:
        remark = scaling._panel(drawing.add_axes((0.1, 0.1, 0.6, 0.8)), points(losses))
    return remark, (tmp_path / "a.svg").read_text()


def test_kaplans_law_is_drawn_only_near_the_losses_and_always_said_to_be_of_web_text(tmp_path):
    for losses, near in (([5.1, 4.2, 3.6], True), ([0.9, 0.8, 0.7], False)):
        remark, _ = drawn(tmp_path, losses)
        assert ("is not near" in remark) is not near
        assert "web text in a BPE" in remark
