"""Options that a recipe combines: what both do beyond what each alone does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from trainyard.report.pages import trade_offs
from trainyard.report.pages.interactions import describe_interactions, interactions_table
from trainyard.report.results.item_scores import Items
from trainyard.report.results.runs import Run, read_evaluations, read_runs
from trainyard.report.statistics.interactions import Interaction, RatioTest, find_combinations, find_interactions
from trainyard.report.statistics.paired_tests import contrast_items
from trainyard.report.statistics.recipes import RecipeTest, contrast_recipe_items

from .reading import csv_rows, evidence_of

ROWS = 400
REPOSITORY = Path(__file__).parents[2]
CHANGES: dict[str, dict[str, Any]] = {
    "base": {},
    "frozen": {"freeze": ["encoder"]},
    "sortish": {"order": "sortish"},
    "frozen-sortish": {"freeze": ["encoder"], "order": "sortish"},
}


@pytest.fixture
def outputs(outputs: dict[str, Any]) -> dict[str, Any]:
    """Where the page and its two CSVs go."""
    return outputs | {"interactions": outputs["numbers"].with_name("i.csv")}


def add(results: Any, recipe: str, seed: int, *, score: float, memory: float, changes: dict[str, Any]) -> None:
    """A run of a recipe with its memory, and ROUGE of rows that are hard or easy for all alike."""
    run = f"{recipe}-s{seed}"
    folder = results.add_run(run, recipe=recipe, seed=seed)
    specification, summary = (json.loads((folder / name).read_text()) for name in ("spec.json", "summary.json"))
    specification["train"] |= changes
    (folder / "spec.json").write_text(json.dumps(specification))
    (folder / "summary.json").write_text(json.dumps(summary | {"peak_host_memory": memory}))
    hard = np.random.default_rng(0).normal(0, 8, ROWS)
    own = np.random.default_rng(sum(run.encode())).normal(0, 3, ROWS)
    rouge = score + (hard - hard.mean()) + (own - own.mean())
    results.add_items(run, "rouge", {"rouge1": rouge}, dataset="dialogues")


def fill(results: Any, *, seeds: int, both: float, memory: float) -> Any:
    """Four recipes: frozen saves half of the memory and costs 2 points, sortish a tenth and 1; and of both as given."""
    levels = {"base": (40.0, 1000.0), "frozen": (38.0, 500.0), "sortish": (39.0, 900.0)}
    levels["frozen-sortish"] = both, memory
    for recipe, (score, size) in levels.items():
        for seed in range(1, seeds + 1):
            away = 0.002 * np.random.default_rng([seed, *recipe.encode()]).normal()
            add(results, recipe, seed, score=score + 50 * away, memory=size * (1 + away), changes=CHANGES[recipe])
    return results


def find(results: Any) -> dict[str, Interaction]:
    found = find_interactions(read_runs(results.runs), read_evaluations(results.evaluations))
    return {each.name: each for each in found}


@pytest.mark.parametrize("seeds", [1, 3])
def test_options_that_add_up_are_not_shown_to_interact(empty: Any, seeds: int) -> None:
    found = find(fill(empty, seeds=seeds, both=37.0, memory=450.0))
    assert {each.pair for each in found.values()} == {("frozen", "sortish")}
    assert {each.both for each in found.values()} == {"frozen-sortish"}
    assert not any(each.is_shown for each in found.values())
    rouge, memory = found["rouge1"], found["memory"]
    assert (rouge.alone, rouge.together, rouge.expected) == (
        pytest.approx((-2, -1), abs=0.4),
        pytest.approx(-3, abs=0.4),
        pytest.approx(-3, abs=0.6),
    )
    assert (memory.alone, memory.expected) == (pytest.approx((0.5, 0.9), abs=0.01), pytest.approx(0.45, abs=0.01))
    assert not isinstance(rouge.found, str | RatioTest)
    assert rouge.found.low < 0 < rouge.found.high


@pytest.mark.parametrize("seeds", [1, 3])
def test_options_that_do_not_add_up_interact_by_the_difference_of_differences(empty: Any, seeds: int) -> None:
    found = find(fill(empty, seeds=seeds, both=34.0, memory=495.0))
    rouge = found["rouge1"]
    assert rouge.is_shown
    assert not isinstance(rouge.found, str | RatioTest)
    assert rouge.found.difference == pytest.approx(rouge.together - sum(rouge.alone))
    assert rouge.found.low < -3 < rouge.found.high < 0
    memory = found["memory"].found
    assert isinstance(memory, RatioTest)
    assert memory.ratio == pytest.approx(495 / 450, rel=0.01)
    if seeds == 1:
        assert (memory.low, memory.p, memory.reason) == (None, None, "one seed: no spread over seeds")
        assert not found["memory"].is_tested
    else:
        assert memory.low is not None
        assert memory.high is not None
        assert 1.02 < memory.low < 1.1 < memory.high
        assert found["memory"].is_shown


def test_of_several_pairs_p_is_corrected_by_holm(empty: Any) -> None:
    fill(empty, seeds=3, both=34.0, memory=450.0)
    for seed in (1, 2, 3):
        more = {"truncated": {"batch": 8}, "truncated-sortish": {"batch": 8, "order": "sortish"}}
        for recipe, changes in more.items():
            add(empty, recipe, seed, score=37.0 + seed / 10, memory=700.0, changes=changes)
    found = find_interactions(read_runs(empty.runs), read_evaluations(empty.evaluations))
    rouge = {each.both: each for each in found if each.name == "rouge1"}
    assert rouge.keys() == {"frozen-sortish", "truncated-sortish"}
    raw = {both: each.found.p for both, each in rouge.items() if isinstance(each.found, RecipeTest)}
    least, most = sorted(raw, key=raw.__getitem__)
    assert rouge[least].p == 2 * raw[least]
    assert rouge[most].p == max(raw[most], 2 * raw[least])


def test_a_recipe_that_changes_more_or_the_same_setting_twice_is_no_combination(empty: Any) -> None:
    changes = {
        "base": {},
        "embeddings": {"freeze": ["embeddings"]},
        "encoder": {"freeze": ["encoder"]},
        "sortish": {"order": "sortish"},
        "frozen": {"freeze": ["embeddings", "encoder"]},
        "frozen-sortish-smooth": {"freeze": ["encoder"], "order": "sortish", "label_smoothing": 0.1},
    }
    for recipe, change in changes.items():
        add(empty, recipe, 1, score=40.0, memory=1000.0, changes=change)
    assert find_interactions(read_runs(empty.runs), read_evaluations(empty.evaluations)) == []


def test_recipes_that_share_no_seed_are_not_compared(empty: Any) -> None:
    for recipe, seeds in (("base", (1, 2)), ("frozen", (1,)), ("sortish", (2,)), ("frozen-sortish", (1, 2))):
        for seed in seeds:
            add(empty, recipe, seed, score=40.0, memory=1000.0, changes=CHANGES[recipe])
    assert find_interactions(read_runs(empty.runs), read_evaluations(empty.evaluations)) == []


def test_the_study_of_summarisation_combines_freezing_with_order_and_truncation_with_batch() -> None:
    study = yaml.safe_load((REPOSITORY / "config/studies/summarisation.yaml").read_text())
    recipes = next(grid["recipes"] for grid in study["grids"] if "recipes" in grid)
    by_recipe = {name: {"1": Run(Path(name), {"train": changes}, {})} for name, changes in recipes.items()}
    assert set(find_combinations(by_recipe)) >= {
        ("frozen-both", "sortish", "frozen-sortish"),
        ("truncated", "large-batch", "truncated-large-batch"),
    }


def test_a_cost_that_is_off_alike_in_every_seed_interacts_without_an_interval(empty: Any) -> None:
    for recipe, memory in (("base", 1000.0), ("frozen", 500.0), ("sortish", 900.0), ("frozen-sortish", 495.0)):
        for seed in (1, 2):
            add(empty, recipe, seed, score=40.0, memory=memory, changes=CHANGES[recipe])
    found = find(empty)["memory"]
    assert isinstance(found.found, RatioTest)
    assert (found.found.low, found.found.reason, found.is_shown) == (None, "the same in every seed", True)


def test_scores_that_are_not_tested_have_their_unit_too(empty: Any) -> None:
    for recipe, right in (("base", 0.5), ("frozen", 0.45), ("sortish", 0.48), ("frozen-sortish", 0.4)):
        for seed in (1, 2):
            add(empty, recipe, seed, score=40.0, memory=1000.0, changes=CHANGES[recipe])
            answers = {"correct": np.arange(1000) < 1000 * right}  # the same in every seed
            empty.add_items(f"{recipe}-s{seed}", "hellaswag", answers, settings={"protocol": "completion", "shots": 0})
    table = interactions_table(find_interactions(read_runs(empty.runs), read_evaluations(empty.evaluations)))
    (cells,) = (row.cells for row in table.rows if row.cells["of"].value == "acc")
    assert cells["interaction"].text == "not tested"
    texts = [cells[key].text for key in ("first_alone", "second_alone", "together", "expected")]
    assert texts == ["−5.0 points", "−2.0 points", "−10.0 points", "−7.0 points"]


def made_items(values: np.ndarray) -> Items:
    return Items(np.arange(len(values)), {"rouge1": values})


@pytest.mark.parametrize("seeds", [1, 4])
def test_without_an_interaction_one_is_seen_in_about_five_of_a_hundred(seeds: int) -> None:
    generator, seen, tries = np.random.default_rng(5), 0, 300 if seeds > 1 else 60
    for _ in range(tries):
        hard = generator.normal(0, 5, 80)
        four = [
            [made_items(hard + generator.normal(0, 1) + generator.normal(0, 2, 80)) for _ in range(seeds)]
            for _ in range(4)
        ]
        if seeds == 1:
            # models of one seed differ in their level, which only seeds tell from an interaction: none here
            four = [[made_items(hard + generator.normal(0, 2, 80))] for _ in range(4)]
            found = contrast_items([four[0][0], four[3][0]], [four[1][0], four[2][0]], "rouge1")
        else:
            found = contrast_recipe_items([four[0], four[3]], [four[1], four[2]], "rouge1")
        assert not isinstance(found, str)
        seen += found.p < 0.05
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high) or abs(found.p - 0.05) < 0.005
    assert seen / tries < 0.1


def test_the_page_and_the_sentences_say_which_options_interact(empty: Any, outputs: dict[str, Any]) -> None:
    fill(empty, seeds=3, both=37.0, memory=495.0)
    trade_offs.tabulate(empty.study, runs=empty.runs, evaluations=empty.evaluations, **outputs)
    rows = {row["of"]: row for row in csv_rows(outputs["interactions"])}
    assert rows["memory"]["first"] == "frozen"
    assert float(rows["memory"]["interaction"]) == pytest.approx(1.1, abs=0.01)
    assert rows["memory"]["verdict"] == "together they save less peak memory than expected"
    assert rows["rouge1"]["verdict"] == "no interaction shown"
    assert "Options that interact" in outputs["table"].read_text()
    assert "<p>Frozen and sortish interact: together they save less peak memory than" in outputs["table"].read_text()
    text = trade_offs.describe_trade_offs(evidence_of(empty))[-1]
    assert text.startswith("Frozen and sortish interact: together they save less peak memory than expected (+9.8 % [")


def test_pairs_without_an_interaction_are_named(empty: Any) -> None:
    fill(empty, seeds=3, both=37.0, memory=450.0)
    found = find_interactions(read_runs(empty.runs), read_evaluations(empty.evaluations))
    assert describe_interactions(found) == ["No interaction is shown between frozen and sortish."]
