"""Recipes that were trained with several seeds: what a test calls a difference, by simulation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from trainyard.core.power import find_detectable
from trainyard.report.results.item_scores import Items
from trainyard.report.results.runs import Evaluation
from trainyard.report.statistics.recipes import RecipeTest, compare_recipe_items, compare_recipes, welch

RAW = {
    "metric": "hellaswag",
    "dataset": "endings",
    "split": "test",
    "rows_sha256": "ab" * 32,
    "settings": {"protocol": "harness", "shots": 0, "limit": None},
}


def evaluation(correct: np.ndarray) -> Evaluation:
    made = Evaluation(Path("none.json"), {**RAW, "run": "r", "values": {"acc": {"value": float(correct.mean())}}})
    made.__dict__["items"] = Items(np.arange(len(correct)), {"correct": correct})
    return made


def recipes(
    generator: np.random.Generator, seeds: int, items: int, interaction: float, seed_effect: float, shift: float = 0.0
) -> list[list[Evaluation]]:
    """Two recipes: items are easy or hard for both, and each is better at some than the other; seeds move all items."""
    ease = generator.normal(0, 1, items)
    made = []
    for recipe in range(2):
        own = ease + generator.normal(shift * recipe, interaction, items)
        moved = [own + generator.normal(0, seed_effect) for _ in range(seeds)]
        made.append([evaluation(generator.random(items) < 1 / (1 + np.exp(-each))) for each in moved])
    return made


def share(cases: int, *setting: Any) -> tuple[float, float]:
    """How often two equal recipes are called different by seeds and items, and by seeds alone."""
    generator = np.random.default_rng(0)
    both, alone = 0, 0
    for _ in range(cases):
        first, second = recipes(generator, *setting)
        found = compare_recipes(first, second, "acc")
        of_seeds = welch(*([each.scores["acc"].value for each in recipe] for recipe in (first, second)))
        both += isinstance(found, RecipeTest) and found.p < 0.05
        alone += isinstance(of_seeds, RecipeTest) and of_seeds.p < 0.05
    return both / cases, alone / cases


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("seed_effect", [0.0, 0.1])
def test_recipes_that_are_equal_over_all_items_are_called_different_in_five_percent(
    seeds: int, seed_effect: float
) -> None:
    both, _ = share(300, seeds, 1000, 1.0, seed_effect)
    assert both <= 0.087  # 15 of 300 are expected, and up to 26 hold 99.7 % of binomial draws


def test_seeds_alone_do_not_see_that_other_items_would_have_decided_otherwise() -> None:
    both, alone = share(150, 10, 1000, 2.0, 0.0)
    assert alone > 0.25
    assert both <= 0.1


def test_a_real_difference_between_recipes_is_found() -> None:
    generator = np.random.default_rng(1)
    pairs = [recipes(generator, 5, 1000, 0.5, 0.05, shift=0.5) for _ in range(50)]
    found = [compare_recipes(first, second, "acc") for first, second in pairs]
    tests = [each for each in found if isinstance(each, RecipeTest)]
    assert len(tests) == 50
    assert sum(each.p < 0.05 and each.difference < 0 for each in tests) >= 45
    assert all(each.items == 1000 and each.n == (5, 5) for each in tests)


def test_one_item_is_too_few_whatever_the_seeds() -> None:
    one = Items(np.arange(1), {"rouge1": np.array([40.0])})
    assert compare_recipe_items([one, one], [one, one], "rouge1") == "one item is too few for a test"


def test_the_detectable_difference_is_found_with_the_power_that_is_said() -> None:
    error, degrees = 0.5, 4.0
    detectable = find_detectable(error, degrees)
    generator = np.random.default_rng(2)
    estimates = generator.normal(detectable, error, 20_000)
    errors = error * np.sqrt(generator.chisquare(degrees, 20_000) / degrees)
    found = np.abs(estimates / errors) > stats.t.ppf(0.975, degrees)
    assert found.mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("degrees", [1, 2, 30, 1000.0])
def test_any_degrees_of_freedom_have_a_detectable_difference(degrees: float) -> None:
    # with many it is that of the normal distribution
    assert find_detectable(1.0, degrees) >= stats.norm.ppf(0.975) + stats.norm.ppf(0.8)


def test_recipes_that_were_scored_on_other_rows_are_not_compared() -> None:
    first, second = recipes(np.random.default_rng(3), 2, 50, 0.5, 0.1)
    second[1].raw["rows_sha256"] = "cd" * 32
    assert compare_recipes(first, second, "acc") == "the files of rows differ"
    assert compare_recipes(first, second[:1], "acc") == "fewer than two seeds"
