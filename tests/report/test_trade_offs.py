"""What each recipe changes against `base`, in cost and quality, and what is said of it."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainyard.config.study import Expectation
from trainyard.report.pages import trade_offs
from trainyard.report.results.runs import read_evaluations, read_runs
from trainyard.report.statistics.trade_offs import TradeOff, weigh_recipes

from .reading import csv_rows, evidence_of, sentences

ENDINGS = {"protocol": "completion", "shots": 0}
MIB = 2**20


def add(results: Any, recipe: str, seed: int, right: float, memory: int, seconds: float = 44.0, **more: Any) -> None:
    """A run with the share of endings that it has right, the memory of its process and the seconds that it took."""
    run = f"{recipe}-s{seed}"
    folder = results.add_run(run, recipe=recipe, seed=seed, **more)
    summary = json.loads((folder / "summary.json").read_text())
    summary |= {"peak_host_memory": memory * MIB, "elapsed_seconds": seconds}
    (folder / "summary.json").write_text(json.dumps(summary))
    results.add_items(run, "hellaswag", {"correct": np.arange(1000) < 1000 * right}, settings=ENDINGS)


@pytest.fixture
def outputs(outputs: dict[str, Any]) -> dict[str, Any]:
    """Where the page and its two CSVs go."""
    return outputs | {"interactions": outputs["numbers"].with_name("i.csv")}


@pytest.fixture
def weighed_study(empty: Any) -> Any:
    """Of two seeds each: one recipe that is leaner and no worse, one that is faster and worse, one that is better."""
    for seed, away in ((1, -0.01), (2, 0.01)):
        add(empty, "base", seed, 0.5 + away, 1000 + seed)
        add(empty, "frozen", seed, 0.501 + 2 * away, 600 + 2 * seed)
        add(empty, "sortish", seed, 0.3 + away, 1001 + seed, seconds=22.0)
        add(empty, "smoothed", seed, 0.7 + away, 1000 + seed)
    return empty


def expect(**directions: str) -> Expectation:
    return Expectation.model_validate(directions)


def weigh(results: Any, expected: dict[str, Expectation] | None = None) -> dict[str, TradeOff]:
    found = weigh_recipes(read_runs(results.runs), read_evaluations(results.evaluations), expected or {})
    return {each.recipe: each for each in found}


def test_costs_are_ratios_of_the_same_seeds_and_their_geometric_mean(weighed_study: Any) -> None:
    found = weigh(weighed_study)["frozen"]
    memory = found.costs["memory"]
    assert (memory.lowest, memory.highest) == (602 / 1001, 604 / 1002)
    assert memory.ratio == pytest.approx((602 / 1001 * 604 / 1002) ** 0.5)
    assert memory.direction == "less"
    assert found.costs["hours"].direction is None
    assert weigh(weighed_study)["sortish"].costs["hours"].ratio == pytest.approx(0.5)


def test_speeds_of_generation_are_weighed_where_both_recipes_generated(empty: Any, outputs: dict[str, Any]) -> None:
    for recipe, seconds in (("base", 20.0), ("sortish", 10.0)):
        add(empty, recipe, 1, 0.5, 1000)
        timed = {"timed_rows": 30, "timed_tokens": 600 if recipe == "base" else 450, "timed_seconds": seconds}
        timed |= {"source_positions": 4000, "source_padding": 1000}
        empty.add_evaluation(f"{recipe}-s1", "rouge", {"rouge1": (30.0, 1.0)}, dataset="d", generation=timed)
    add(empty, "other", 1, 0.5, 1000)
    costs = {recipe: each.costs for recipe, each in weigh(empty).items()}
    assert costs["sortish"]["generation_speed"].ratio == pytest.approx(2.0)
    assert costs["sortish"]["generated_tokens_per_second"].ratio == pytest.approx(1.5)
    assert "generation_speed" not in costs["other"]
    trade_offs.tabulate(empty.study, runs=empty.runs, evaluations=empty.evaluations, **outputs)
    assert "generation samples/s" in outputs["table"].read_text()


def test_a_cost_that_nobody_measured_has_no_column(weighed_study: Any, outputs: dict[str, Any]) -> None:
    trade_offs.tabulate(weighed_study.study, runs=weighed_study.runs, evaluations=weighed_study.evaluations, **outputs)
    assert "training samples/s" in outputs["table"].read_text()
    assert "generation samples/s" not in outputs["table"].read_text()


def test_a_cost_that_one_seed_has_less_of_and_another_more_is_neither(empty: Any) -> None:
    for seed, memory in ((1, 900), (2, 1100)):
        add(empty, "base", seed, 0.5, 1000)
        add(empty, "other", seed, 0.5, memory)
    assert weigh(empty)["other"].costs["memory"].direction is None


def test_one_seed_tells_of_memory_and_not_of_time(empty: Any) -> None:
    add(empty, "base", 1, 0.5, 1000)
    add(empty, "other", 1, 0.5, 500, seconds=22.0)
    costs = weigh(empty)["other"].costs
    assert costs["memory"].direction == "less"
    assert costs["hours"].ratio == pytest.approx(0.5)
    assert costs["hours"].direction is None


def test_quality_is_tested_over_seeds_and_items_and_corrected_for_the_recipes(weighed_study: Any) -> None:
    found = weigh(weighed_study)
    accuracy = {recipe: each.quality("hellaswag") for recipe, each in found.items()}
    assert {recipe: quality and quality.direction for recipe, quality in accuracy.items()} == {
        "frozen": None,
        "sortish": "less",
        "smoothed": "more",
    }
    for quality in accuracy.values():
        assert quality is not None
        assert not isinstance(quality.found, str)
        assert quality.p is not None
        assert quality.p >= quality.found.p
    worst = accuracy["frozen"]
    assert worst is not None
    assert not isinstance(worst.found, str)
    assert worst.p == worst.found.p  # the largest of three


def test_one_seed_is_tested_over_the_items_of_two_models(empty: Any) -> None:
    add(empty, "base", 1, 0.5, 1000)
    add(empty, "other", 1, 0.6, 1000)
    quality = weigh(empty)["other"].quality("hellaswag")
    assert quality is not None
    assert not isinstance(quality.found, str)
    assert quality.found.test == "McNemar's exact test"


def test_the_best_and_the_last_model_of_a_run_are_compared_each_with_its_own_and_have_columns_of_their_own(
    empty: Any, outputs: dict[str, Any]
) -> None:
    for recipe, rights in (("base", (0.5, 0.5)), ("other", (0.7, 0.3))):
        add(empty, recipe, 1, rights[0], 1000)
        last = {"correct": np.arange(1000) < 1000 * rights[1]}
        empty.add_items(f"{recipe}-s1", "hellaswag", last, settings=ENDINGS, checkpoint="last")
    directions = {each.title.rpartition(", ")[2]: each.direction for each in weigh(empty)["other"].qualities[1:]}
    assert directions == {"best": "more", "last": "less"}
    trade_offs.tabulate(empty.study, runs=empty.runs, evaluations=empty.evaluations, **outputs)
    (row,) = csv_rows(outputs["numbers"])
    assert [float(row[name]) for name in row if name.endswith(":acc")] == [pytest.approx(0.2), pytest.approx(-0.2)]


def test_runs_of_other_seeds_other_settings_or_without_an_end_are_no_pair(empty: Any) -> None:
    add(empty, "base", 1, 0.5, 1000)
    add(empty, "later", 2, 0.5, 500)
    add(empty, "spread", 1, 0.5, 500, parallel="ddp", processes=2)
    empty.add_run("hot", recipe="hot", outcome="diverged", reason="loss not finite at step 60", steps=60)
    assert weigh(empty) == {}


def test_each_parallel_setting_is_weighed_against_its_own_base(empty: Any) -> None:
    for parallel, memory in (("ddp", 1000), ("zero2", 800)):
        for recipe, part in (("base", 1.0), ("frozen", 0.5)):
            run = f"{parallel}-{recipe}"
            folder = empty.add_run(run, recipe=recipe, parallel=parallel)
            summary = json.loads((folder / "summary.json").read_text())
            (folder / "summary.json").write_text(json.dumps(summary | {"peak_host_memory": memory * part * MIB}))
    found = weigh_recipes(read_runs(empty.runs), [], {})
    assert [(each.place, each.costs["memory"].ratio) for each in found] == [("ddp", 0.5), ("zero2", 0.5)]


def test_what_is_expected_is_held_contradicted_or_not_shown(weighed_study: Any) -> None:
    expected = {
        "frozen": expect(memory="less", quality="less"),
        "smoothed": expect(quality="less"),
        "sortish": expect(quality="less", memory="less"),
    }
    judged = {recipe: each.judge("hellaswag") for recipe, each in weigh(weighed_study, expected).items()}
    assert judged == {
        "frozen": {"memory": "held", "quality": "not shown"},
        "sortish": {"memory": "not shown", "quality": "held"},
        "smoothed": {"quality": "contradicted"},
    }


def test_a_sentence_says_what_to_take_where_memory_time_or_quality_matters_most(weighed_study: Any) -> None:
    weighed_study.study = weighed_study.study.model_copy(update={"primary": "hellaswag"})
    (text,) = trade_offs.describe_trade_offs(evidence_of(weighed_study))
    assert text.startswith("Where memory matters most, take frozen (−40 % peak memory, accuracy +0.1 points [")
    assert ", within noise); where time does, take sortish (−50 % device hours, accuracy −20.0 points [" in text
    assert "; where quality does, take smoothed (accuracy +20.0 points [" in text
    assert sentences(weighed_study)["Trade-offs"] == text


def test_an_interval_without_zero_is_not_called_noise_where_the_corrected_p_is_large(weighed_study: Any) -> None:
    quality = weigh(weighed_study)["sortish"].quality("hellaswag")
    assert quality is not None
    said = trade_offs._say(replace(quality, p=0.06))
    assert said.endswith("], not significant once corrected for the number of recipes: p = 0.060")


def test_what_to_switch_on_is_the_first_that_an_overview_says(weighed_study: Any) -> None:
    assert next(iter(sentences(weighed_study))) == "Trade-offs"


def test_where_nothing_is_shown_nothing_is_recommended(empty: Any) -> None:
    for recipe in ("base", "same"):
        add(empty, recipe, 1, 0.5, 1000)
    (text,) = trade_offs.describe_trade_offs(evidence_of(empty))
    assert text == (
        "Where memory matters most, no recipe is shown to take less than base; where time does, no recipe is shown to "
        "take less than base; where quality does, no recipe is shown to be better than base."
    )


def test_the_table_has_every_recipe_with_its_changes_and_verdicts(weighed_study: Any, outputs: dict[str, Any]) -> None:
    expected = {"frozen": expect(memory="less")}
    weighed_study.study = weighed_study.study.model_copy(update={"expect": expected})
    trade_offs.tabulate(weighed_study.study, runs=weighed_study.runs, evaluations=weighed_study.evaluations, **outputs)
    rows = {row["recipe"]: row for row in csv_rows(outputs["numbers"])}
    assert rows.keys() == {"frozen", "sortish", "smoothed"}
    assert float(rows["frozen"]["memory"]) == pytest.approx(0.602, abs=1e-3)
    assert rows["frozen"]["memory_direction"] == "less"
    assert rows["frozen"]["expected"] == "less memory: held"
    accuracy = next(column for column in rows["smoothed"] if column.endswith(":acc"))
    assert float(rows["smoothed"][accuracy]) == pytest.approx(0.2)
    assert float(rows["smoothed"][f"{accuracy}_low"]) < 0.2 < float(rows["smoothed"][f"{accuracy}_high"])
    page = outputs["table"].read_text()
    assert "Where memory matters most, take frozen" in page
    assert "less memory: held" in page


def test_a_study_without_a_base_says_so(empty: Any, outputs: dict[str, Any]) -> None:
    add(empty, "one", 1, 0.5, 1000)
    trade_offs.tabulate(empty.study, runs=empty.runs, evaluations=empty.evaluations, **outputs)
    assert "No recipe was trained beside a recipe `base` with the same seed." in outputs["table"].read_text()
