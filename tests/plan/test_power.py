"""What a planned study says that it can find."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trainyard.plan.configuration import Plan
from trainyard.plan.power import SEED_DEVIATION, describe_power, estimate_detectable
from trainyard.report.results.item_scores import Items
from trainyard.report.statistics.recipes import RecipeTest, compare_recipe_items

from .conftest import STUDY


def planned(plan: Callable[..., Plan], hellaswag: dict[str, Any], **grid: Any) -> list[str]:
    """The sentences of a study that scores its models by these settings."""
    study = copy.deepcopy(STUDY)
    study["grids"][0] |= {"evaluate": {"hellaswag": hellaswag, "perplexity": {}}, **grid}
    return describe_power(plan(study).studies["s"])


def test_seeds_and_items_are_both_in_the_sentence(plan: Callable[..., Plan]) -> None:
    hellaswag = {"datasets": ["tinyworld-endings"], "limit": 500}
    recipes = {"base": {}, "hot": {"learning_rate": 1e-2}}
    (line,) = planned(plan, hellaswag, recipes=recipes, seeds=[1, 2, 3])
    found = estimate_detectable([3, 3], 500, 1)
    assert line == (
        f"s: with 3 seeds and 500 items this study sees differences of recipes of {found:.1f} points or more in "
        "accuracy on tinyworld-endings validation (power 80 %, level 5 % for 1 comparison; assumed: seeds that lie "
        "1 point apart (standard deviation) and items that models answer independently, half of them right)"
    )


def test_with_one_seed_it_says_nothing_of_recipes(plan: Callable[..., Plan]) -> None:
    hellaswag = {"datasets": ["tinyworld-endings"], "limit": 500}
    recipes = {"base": {}, "hot": {"learning_rate": 1e-2}, "cold": {"learning_rate": 1e-4}}
    (line,) = planned(plan, hellaswag, recipes=recipes)
    assert line.startswith("s: with 1 seed and 500 items this study sees differences of trained models, and none of ")
    assert f"{estimate_detectable([1, 1], 500, 3):.1f} points or more" in line
    assert "over 3 comparisons; assumed: items that" in line


def test_without_a_limit_the_items_are_those_of_the_dataset_where_its_entry_counts_them(
    plan: Callable[..., Plan],
) -> None:
    recipes = {"base": {}, "hot": {"learning_rate": 1e-2}}
    (line,) = planned(plan, {"datasets": ["tinyworld-endings"]}, recipes=recipes, seeds=[1, 2, 3])
    assert "with 3 seeds and 4,000 items " in line
    (line,) = planned(plan, {}, recipes=recipes, seeds=[1, 2, 3])
    assert "the items of hellaswag, whose number its entry doesn't tell," in line
    assert "answer" not in line


def test_two_seeds_are_too_few_to_say(plan: Callable[..., Plan]) -> None:
    recipes = {"base": {}, "hot": {"learning_rate": 1e-2}}
    (line,) = planned(plan, {}, recipes=recipes, seeds=[1, 2])
    assert "2 seeds are too few to say what differences of recipes this study can find" in line


def test_one_model_or_no_accuracy_is_no_comparison(plan: Callable[..., Plan]) -> None:
    assert planned(plan, {"datasets": ["tinyworld-endings"]}) == []
    assert describe_power(plan().studies["s"]) == []


def test_more_seeds_items_or_fewer_comparisons_find_smaller_differences() -> None:
    whole = estimate_detectable([3, 3], 2000, 3)
    assert estimate_detectable([5, 5], 2000, 3) < whole
    assert estimate_detectable([3, 3], 4000, 3) < whole
    assert estimate_detectable([3, 3], 2000, 1) < whole


@pytest.mark.parametrize(("seeds", "items"), [(3, 2000), (3, 500), (5, 10_000)])
def test_a_difference_of_that_size_is_found_as_often_as_is_said(seeds: int, items: int) -> None:
    # a recipe's seeds answer alike but for what moves their scores: items are as noisy as the sentence assumes
    generator = np.random.default_rng(0)
    difference = estimate_detectable([seeds, seeds], items, 1) / 100

    def answers(share: float) -> list[Items]:
        places = generator.random(items)  # an item is right where its place lies below the seed's share
        shares = share + generator.normal(0, SEED_DEVIATION / 100, seeds)
        return [Items(np.arange(items), {"correct": places < each}) for each in shares]

    found = 0
    for _ in range(300):
        test = compare_recipe_items(answers(0.5 + difference / 2), answers(0.5 - difference / 2), "acc")
        found += isinstance(test, RecipeTest) and test.p < 0.05
    assert 219 <= found <= 261  # 240 are expected; these are 99.7 % of binomial draws
