"""Chinchilla's law: found again from runs, with its certainty, and said of a study that varies size and tokens."""

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trainyard.report.pages.compute_optimal import describe_law
from trainyard.report.results.runs import read_runs
from trainyard.report.statistics.budgets import gather_budgets
from trainyard.report.statistics.chinchilla import ChinchillaLaw, bootstrap, fit

from .reading import evidence_of, sentences

# of Besiroglu et al. 2024 (arXiv:2404.10102, section 3), from 240 runs that they read off the Chinchilla paper's figure
REPLICATED = ChinchillaLaw(1.8172, 477.84, 0.34731, 2143.86, 0.36718)
RANDOM = np.random.default_rng(0)
SIZES = np.exp(RANDOM.uniform(np.log(5e7), np.log(1.6e10), 240))
TOKENS = np.exp(RANDOM.uniform(np.log(1e9), np.log(3e11), 240))
LOSSES = np.array([REPLICATED.loss(size, tokens) for size, tokens in zip(SIZES, TOKENS, strict=True)])
GRID = list(itertools.product((1e5, 3e5, 1e6), (1e6, 4e6, 1.6e7)))
GRID_SIZES, GRID_TOKENS = ([pair[place] for pair in GRID] for place in (0, 1))


def values(law: ChinchillaLaw | None) -> list[float]:
    assert law is not None
    return [law.floor, law.size_scale, law.size_exponent, law.tokens_scale, law.tokens_exponent]


def test_a_law_is_found_again_to_six_digits() -> None:
    assert values(fit(SIZES, TOKENS, LOSSES)) == pytest.approx(values(REPLICATED), rel=1e-6)


def test_nine_runs_determine_it() -> None:
    law = ChinchillaLaw(0.5, 30.0, 0.3, 200.0, 0.4)
    assert values(fit(GRID_SIZES, GRID_TOKENS, [law.loss(*each) for each in GRID])) == pytest.approx(
        values(law), rel=1e-3
    )


def test_runs_that_went_astray_hardly_bend_it() -> None:
    astray = LOSSES.copy()
    astray[::12] *= 1.5
    found = fit(SIZES, TOKENS, astray)
    assert values(found) == pytest.approx(values(REPLICATED), rel=0.01)


def test_tokens_that_follow_from_the_size_determine_no_law() -> None:
    for tokens in (20 * SIZES, (20 * SIZES).round(-9)):  # in whole steps too
        losses = [REPLICATED.loss(size, count) for size, count in zip(SIZES, tokens, strict=True)]
        assert fit(SIZES, tokens, losses) is None


@pytest.mark.parametrize("runs", [GRID[:7], [each for each in GRID if each[0] < 1e6] * 2])
def test_few_runs_and_two_sizes_determine_no_law(runs: list[tuple[float, float]]) -> None:
    sizes, tokens = ([pair[place] for pair in runs] for place in (0, 1))
    losses = [REPLICATED.loss(*pair) for pair in runs]
    assert fit(sizes, tokens, losses) is None
    assert bootstrap(sizes, tokens, losses) is None


@pytest.mark.parametrize(
    "loss", [lambda _size, _tokens: 2.0, lambda size, _tokens: 1 + 30 * size**-0.3, lambda size, _tokens: size**0.1]
)
def test_losses_that_do_not_fall_with_size_and_tokens_have_no_law(loss: Callable[[float, float], float]) -> None:
    assert fit(GRID_SIZES, GRID_TOKENS, [loss(*pair) for pair in GRID]) is None


def test_the_intervals_hold_the_truth_and_narrow_with_the_noise() -> None:
    widths = []
    for noise in (0.01, 0.001):
        intervals = bootstrap(SIZES, TOKENS, LOSSES * np.exp(noise * np.random.default_rng(1).normal(size=240)), 200)
        assert intervals is not None
        assert intervals.floor is not None
        for (low, high), true in (
            (intervals.floor, REPLICATED.floor),
            (intervals.size_exponent, REPLICATED.size_exponent),
            (intervals.tokens_exponent, REPLICATED.tokens_exponent),
        ):
            assert low < true < high
        widths.append(intervals.floor[1] - intervals.floor[0])
    assert widths[1] < widths[0] / 4


@pytest.mark.slow
def test_intervals_of_nine_runs_hold_the_truth_as_often_as_they_say() -> None:
    law = ChinchillaLaw(0.5, 30.0, 0.3, 200.0, 0.4)
    held = np.zeros(3)
    for seed in range(60):
        noise = np.exp(0.005 * np.random.default_rng(seed).normal(size=9))
        losses = [law.loss(*each) * part for each, part in zip(GRID, noise, strict=True)]
        intervals = bootstrap(GRID_SIZES, GRID_TOKENS, losses, 200)
        assert intervals is not None
        ends = [intervals.floor or (0.0, math.inf), intervals.size_exponent, intervals.tokens_exponent]
        held += [low < true < high for (low, high), true in zip(ends, (0.5, 0.3, 0.4), strict=True)]
    assert held.min() >= 51  # of 60 right intervals so few hold in 3 of 1,000


def test_a_floor_that_runs_do_not_show_has_no_interval() -> None:
    law = ChinchillaLaw(0.0, 30.0, 0.3, 200.0, 0.4)
    noise = np.exp(0.03 * np.random.default_rng(1).normal(size=9))
    losses = [law.loss(*each) * part for each, part in zip(GRID, noise, strict=True)]
    intervals = bootstrap(GRID_SIZES, GRID_TOKENS, losses, 200)
    assert intervals is not None
    assert intervals.floor is None


def test_no_split_of_a_compute_has_less_loss_than_the_optimal_one() -> None:
    flops = 5.76e23  # Chinchilla's
    size, tokens = REPLICATED.optimal(flops)
    assert 6 * size * tokens == pytest.approx(flops)
    assert tokens / size == pytest.approx(17.9, abs=0.1)
    for part in (0.9, 1.1):
        assert REPLICATED.loss(size * part, tokens / part) > REPLICATED.loss(size, tokens)


@pytest.fixture
def budgets(empty: Any) -> Any:
    """Three sizes under three budgets, whose losses follow a law."""
    target = empty.add_ladder(ChinchillaLaw(0.5, 30.0, 0.3, 200.0, 0.4))
    empty.runs.remove(target)
    empty.study = empty.study.model_copy(update={"scaling": True})
    return empty


def test_a_study_of_sizes_and_budgets_is_told_its_law_and_what_it_would_do_with_its_compute(budgets: Any) -> None:
    evidence = evidence_of(budgets)
    first, second = describe_law(evidence.runs, evidence.models)
    assert first.startswith(
        "Over 9 pairs of 3 sizes and 3 budgets of tokens the law L(N, D) = E + A / N^a + B / D^b fits within 0.0 % "
        "with a = 0.300 ["
    )
    assert "], b = 0.400 [" in first
    assert "] and E = 0.500 nats [" in first
    assert "(6 N D; N = " in second
    assert f"{first} {second}" in sentences(budgets)["Scaling"]


def test_a_run_that_stopped_before_its_schedule_ended_is_no_budget(budgets: Any) -> None:
    folder = budgets.folder / "gpt2-1m-1600"
    summary = json.loads((folder / "summary.json").read_text()) | {"planned_steps": 3200}
    (folder / "summary.json").write_text(json.dumps(summary))
    found = gather_budgets(read_runs(budgets.runs), budgets.models)
    assert len(found) == 8
    assert ("gpt2-1m", 2048 * 1600) not in {(each.model, each.tokens) for each in found}


def test_a_budget_has_the_loss_of_the_end_of_its_schedule(budgets: Any) -> None:
    folder = budgets.folder / "gpt2-1m-1600"
    summary = json.loads((folder / "summary.json").read_text()) | {"best": {"step": 800, "validation_loss": 0.1}}
    (folder / "summary.json").write_text(json.dumps(summary))
    found = {(each.model, each.tokens): each.loss for each in gather_budgets(read_runs(budgets.runs), budgets.models)}
    assert found["gpt2-1m", 2048 * 1600] == summary["validation_loss"]


def test_a_study_of_one_budget_is_told_no_law(full: Any) -> None:
    evidence = evidence_of(full)
    assert describe_law(evidence.runs, evidence.models) == []
