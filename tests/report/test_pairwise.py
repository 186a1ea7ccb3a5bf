"""Who is better: pairs of models, configurations over seeds, and what tables and sentences make of them."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainyard.report.pages import comparison, differences, levels, overview, scores
from trainyard.report.pages.cells import SEEDS, spread_cell
from trainyard.report.pages.comparison import compare
from trainyard.report.render.html import find_best_cells
from trainyard.report.results.runs import read_evaluations, read_runs
from trainyard.report.statistics.paired_tests import SIGN_FLIP, PairedTest, mcnemar
from trainyard.report.statistics.pairwise import (
    MOST,
    Pair,
    compare_family,
    compare_models,
    describe_p_value,
    describe_pair,
    format_difference,
)
from trainyard.report.statistics.recipes import RecipeTest, welch
from trainyard.report.statistics.seeds import Spread, compute_spread, group_configurations, summarise_seeds
from trainyard.tools import terminal_table

from .reading import csv_rows, sentences

MINUS = "\N{MINUS SIGN}"
HELLASWAG = {"protocol": "harness", "shots": 0, "limit": None}
MODELS = ("gpt2-1m", "gpt2-500k", "gpt2-250k")


@pytest.fixture
def three(empty: Any) -> Any:
    """Three models on the same thousand items: two that hardly differ, and a third that is worse."""
    hard = np.random.default_rng(0).random(1000)
    for seed, (model, share, offset) in enumerate(zip(MODELS, (0.62, 0.615, 0.50), (0.0, 0.002, 0.3), strict=True)):
        empty.add_run(model, model=model, end=1.2 + offset)
        noise = np.random.default_rng(seed)
        empty.add_items(model, "hellaswag", {"correct": hard < share}, settings=HELLASWAG)
        losses = {"log_likelihood": -20 - 10 * (hard[:200] + offset) + noise.normal(0, 0.5, 200)}
        empty.add_items(model, "perplexity", losses, dataset="stories")
    return empty


@pytest.fixture
def seeded(empty: Any) -> Any:
    """Two configurations with three seeds, and one with a single seed."""
    for model, end in (("gpt2-1m", 1.20), ("gpt2-500k", 1.30)):
        for seed, away in ((1, -0.02), (2, 0.0), (3, 0.02)):
            run = f"{model}-s{seed}"
            empty.add_run(run, model=model, seed=seed, end=end + away)
            share = (0.6 if model == "gpt2-1m" else 0.5) + away / 2
            correct = np.arange(1000) < 1000 * share
            empty.add_items(run, "hellaswag", {"correct": correct}, settings=HELLASWAG)
    empty.add_run("gpt2-250k-s1", model="gpt2-250k", end=1.5)
    empty.add_items("gpt2-250k-s1", "hellaswag", {"correct": np.arange(1000) < 300}, settings=HELLASWAG)
    return empty


def table(results: Any) -> Any:
    return compare(results.study, read_runs(results.runs), read_evaluations(results.evaluations), [])


# families


def test_every_pair_is_tested_and_of_more_than_eight_the_best_against_each() -> None:
    never = compare_family(range(MOST), lambda first, second: f"{first}{second}")
    assert len(never) == MOST * (MOST - 1) // 2
    assert never[0] == Pair(0, 1, "01")
    assert [(pair.first, pair.second) for pair in compare_family(range(MOST + 1), lambda first, second: "")] == [
        (0, other) for other in range(1, MOST + 1)
    ]


def test_holms_correction_is_over_the_tests_that_were_made(three: Any) -> None:
    group = [each for each in read_evaluations(three.evaluations) if each.metric == "hellaswag"]
    made = compare_models(group, "acc")
    assert [pair.verdict for pair in made] == ["within noise", "better", "better"]
    assert {pair.tests for pair in made} == {3}
    assert isinstance(made[0].found, PairedTest)
    assert made[0].p == made[0].found.p  # the largest of three
    three.evaluations[0].with_suffix(".parquet").unlink()
    group = [each for each in read_evaluations(three.evaluations) if each.metric == "hellaswag"]
    made = compare_models(group, "acc")
    assert [pair.verdict for pair in made] == ["not tested", "not tested", "better"]
    assert made[2].tests == 1


def test_the_first_of_a_pair_has_the_better_figure_low_or_high(three: Any) -> None:
    for metric, name in (("hellaswag", "acc"), ("perplexity", "perplexity_word")):
        group = [each for each in read_evaluations(three.evaluations) if each.metric == metric]
        assert [(pair.first, pair.second) for pair in compare_models(group, name)] == [(0, 1), (0, 2), (1, 2)]


def test_differences_are_shown_in_points_and_perplexities_in_percent() -> None:
    share = PairedTest(0.014, 0.003, 0.025, 0.01, "t", 100, (5, 3))
    assert format_difference("acc", share) == ("+1.4 points", "[0.3, 2.5]")
    ratio = PairedTest(math.log(0.9), math.log(0.85), math.log(0.95), 0.01, "t", 100)
    assert format_difference("perplexity_word", ratio) == (f"{MINUS}10.0 %", f"[{MINUS}15.0, {MINUS}5.0]")
    assert format_difference("rouge1", PairedTest(0.0, -0.02, 0.02, 1.0, "t", 100)) == (
        "0.000 points",
        f"[{MINUS}0.020, 0.020]",
    )
    loss = RecipeTest(-0.1, -0.15, -0.05, 0.01, 4.0, (3, 3), 0.07)
    assert format_difference("validation_loss", loss) == (f"{MINUS}0.10 nats", f"[{MINUS}0.15, {MINUS}0.05]")


def test_what_is_told_of_a_pair_has_interval_p_test_and_discordant_items() -> None:
    pair = Pair(0, 1, PairedTest(0.014, 0.003, 0.025, 0.012, "McNemar's exact test", 2000, (53, 25)), 0.036, 3)
    assert describe_pair("acc", pair) == (
        "+1.4 points, 95 % interval [0.3, 2.5], p = 0.012 (0.036 by Holm over 3 tests); McNemar's exact test, "
        "n = 2,000, only one right: 53 and 25: better"
    )
    assert describe_pair("acc", Pair(0, 1, "the files of rows differ")) == "not tested (the files of rows differ)"


def test_p_values_below_a_millionth_are_told_as_that() -> None:
    assert [describe_p_value(p) for p in (0.5, 0.0312, 2e-4, 1e-30)] == [
        "p = 0.50",
        "p = 0.031",
        f"p = 2e{MINUS}4",
        f"p < 1e{MINUS}6",
    ]


def test_of_many_equal_models_the_best_is_seldom_called_better() -> None:
    # the best of twelve was chosen by its luck: five percent hold only if all pairs count
    generator = np.random.default_rng(3)
    called = 0
    for _ in range(200):
        answers = generator.random((12, 500)) < generator.random(500)
        order = sorted(range(12), key=lambda index, answers=answers: -answers[index].sum())
        made = compare_family(order, lambda first, second, answers=answers: mcnemar(answers[first], answers[second]))
        assert {pair.tests for pair in made} == {66}
        called += any(pair.verdict == "better" for pair in made)
    assert called <= 19  # 10 of 200 at most are expected; three standard deviations above


# the comparison


def test_the_dotted_line_is_the_paired_tests(three: Any) -> None:
    made = table(three)
    key = next(column.key for column in made.columns if column.key.endswith(":acc"))
    cells = {row.cells["run"].value: row.cells[key] for row in made.rows if not row.section}
    best, near = find_best_cells(made)
    assert id(cells["gpt2-1m"]) in best
    assert id(cells["gpt2-500k"]) in near
    assert id(cells["gpt2-250k"]) not in best | near
    assert cells["gpt2-250k"].tip.startswith("gpt2-1m against this: +12.")
    assert "McNemar's exact test, n = 1,000, only one right: " in cells["gpt2-250k"].tip
    assert cells["gpt2-250k"].tip.split("\n")[0].endswith(": better")


def test_a_paired_test_finds_what_separate_errors_hide(empty: Any) -> None:
    # 2 points apart where each has an error of 1.6: but no item is right for the second alone
    for run, right in (("a", 560), ("b", 540)):
        empty.add_run(run, recipe=run)
        empty.add_items(run, "hellaswag", {"correct": np.arange(1000) < right}, settings=HELLASWAG)
    made = table(empty)
    key = next(column.key for column in made.columns if column.key.endswith(":acc"))
    cell = next(row.cells[key] for row in made.rows if row.cells["run"].value == "b")
    assert cell.noise is False
    assert id(cell) not in find_best_cells(made)[1]


def test_without_items_the_dotted_line_is_that_of_standard_errors(three: Any) -> None:
    for path in three.evaluations:
        path.with_suffix(".parquet").unlink()
    made = table(three)
    key = next(column.key for column in made.columns if column.key.endswith(":acc"))
    cell = next(row.cells[key] for row in made.rows if row.cells["run"].value == "gpt2-500k")
    assert cell.noise is None
    assert id(cell) in find_best_cells(made)[1]
    assert "not tested (gpt2-1m: there is no " in cell.tip


def test_every_score_of_the_csv_has_error_and_interval(three: Any, outputs: dict[str, Any]) -> None:
    comparison.tabulate(three.study, runs=three.runs, evaluations=three.evaluations, parity=[], **outputs)
    for row in csv_rows(outputs["numbers"]):
        names = [name for name in row if name.endswith((":acc", ":acc_norm", ":perplexity_word")) and row[name]]
        for name in names if not row["section"] else []:
            error, low, high = (float(row[f"{name}_{part}"]) for part in ("standard_error", "low", "high"))
            assert low < float(row[name]) < high
            assert error > 0


def test_the_dotted_line_of_a_level_is_the_paired_test_on_its_items(empty: Any, outputs: dict[str, Any]) -> None:
    # on the first level the second model is right where the first is, but for 12 items; on the second they agree
    level = np.repeat(["facts", "moves"], 200)
    for run, right in (("a", 150), ("b", 138)):
        empty.add_run(run, recipe=run)
        correct = np.concatenate([np.arange(200) < right, np.arange(200) < 80])
        empty.add_items(run, "hellaswag", {"correct": correct, "level": level}, settings=HELLASWAG)
    levels.tabulate(empty.study, runs=empty.runs, evaluations=empty.evaluations, shortcuts=[], **outputs)
    page = outputs["table"].read_text()
    assert "a against this: +6.0 points" in page
    assert "McNemar&#39;s exact test, n = 200, only one right: 12 and 0: better" in page
    assert "McNemar&#39;s exact test, n = 200, only one right: 0 and 0: within noise" in page
    assert "McNemar&#39;s exact test, n = 400, only one right: 12 and 0: better" in page


# the table of differences


def test_the_table_of_differences_has_every_pair_with_its_verdict(three: Any, outputs: dict[str, Any]) -> None:
    differences.tabulate(three.study, runs=three.runs, evaluations=three.evaluations, **outputs)
    found = csv_rows(outputs["numbers"])
    assert [(row["score"], row["first"], row["verdict"], row["second"]) for row in found] == [
        ("acc", "gpt2-1m", "within noise", "gpt2-500k"),
        ("acc", "gpt2-1m", "better", "gpt2-250k"),
        ("acc", "gpt2-500k", "better", "gpt2-250k"),
        ("perplexity_word", "gpt2-1m", "within noise", "gpt2-500k"),
        ("perplexity_word", "gpt2-1m", "better", "gpt2-250k"),
        ("perplexity_word", "gpt2-500k", "better", "gpt2-250k"),
        ("validation_loss", "gpt2-1m", "within noise", "gpt2-500k"),
        ("validation_loss", "gpt2-1m", "better", "gpt2-250k"),
        ("validation_loss", "gpt2-500k", "better", "gpt2-250k"),
    ]
    first = found[0]
    assert (first["difference_unit"], first["test_n"], first["p_holm_tests"]) == ("share", "1000", "3")
    assert float(first["difference"]) == pytest.approx(
        (int(first["test_first_n"]) - int(first["test_second_n"])) / 1000
    )
    assert "Holm" in outputs["table"].read_text()


def test_what_can_not_be_tested_says_why(three: Any, outputs: dict[str, Any]) -> None:
    three.add_items("gpt2-500k", "hellaswag", {"correct": [True] * 1000}, settings=HELLASWAG, rows_sha256="cd" * 32)
    evaluations = [path for path in three.evaluations if "hellaswag" in path.name][1:]
    differences.tabulate(three.study, runs=three.runs, evaluations=evaluations, **outputs)
    assert {row["verdict_reason"] for row in csv_rows(outputs["numbers"])} >= {"the files of rows differ"}
    assert "the files of rows differ" in outputs["table"].read_text()


def test_one_model_alone_has_no_differences(empty: Any, outputs: dict[str, Any]) -> None:
    empty.add_run("r")
    empty.add_items("r", "hellaswag", {"correct": [True] * 30}, settings=HELLASWAG)
    differences.tabulate(empty.study, runs=empty.runs, evaluations=empty.evaluations, **outputs)
    page = outputs["table"].read_text()
    assert "No two models of this study were evaluated, and no two runs validated, on the same items." in page


def test_text_from_data_is_escaped(three: Any, outputs: dict[str, Any]) -> None:
    hostile = "<script>alert(1)</script>"
    three.add_items(hostile.replace("/", "|"), "hellaswag", {"correct": [True] * 1000}, settings=HELLASWAG)
    differences.tabulate(three.study, runs=three.runs, evaluations=three.evaluations, **outputs)
    assert "<script>alert" not in outputs["table"].read_text()
    assert "&lt;script&gt;alert(1)" in outputs["table"].read_text()


def test_of_many_runs_a_difference_below_what_draws_of_signs_show_is_untested() -> None:
    # 33 runs make 528 pairs, and 528 x 0.0001 is above 0.05
    test = PairedTest(1.0, 0.5, 1.5, 1e-4, SIGN_FLIP, 100)
    (few, *_), (many, *_) = (compare_family(range(number), lambda _first, _second: test) for number in (8, 33))
    assert few.verdict == "better"
    assert (many.verdict, many.found) == ("not tested", "528 tests are too many for 19,999 draws of signs")


# sentences


def test_findings_state_the_verdict_of_the_paired_test(three: Any) -> None:
    text = sentences(three)["Endings"]
    assert "Second is gpt2-500k with 59.6 ± 1.6 %, within noise of it (best against second: +0.20 points" in text
    # (2.39 + 0.84) standard errors of 0.2 points: 5 % over three tests, and 80 %, of the normal distribution
    assert "McNemar's exact test, which finds about 0.65 points with a power of 80 %)" in text
    text = sentences(three)["Perplexity"]
    assert f"within noise of it (best against second: {MINUS}" in text
    assert "by Holm; sign-flip permutation test, which finds about" in text


def test_a_second_that_differs_is_said_to_lie_below(three: Any) -> None:
    three.evaluations = [path for path in three.evaluations if "500k" not in str(path)]
    assert "Second is gpt2-250k with 4" in sentences(three)["Endings"]
    assert "below it (best against second: +1" in sentences(three)["Endings"]
    assert f"above it (best against second: {MINUS}" in sentences(three)["Perplexity"]


def test_before_and_after_training_are_paired(empty: Any) -> None:
    generator = np.random.default_rng(1)
    losses = generator.normal(-30, 5, 50)
    empty.add_run("tuned")
    empty.add_items("tuned", "perplexity", {"log_likelihood": losses + 1 + generator.normal(0, 0.1, 50)})
    empty.add_items("gpt2-1m", "perplexity", {"log_likelihood": losses}, checkpoint="pretrained")
    text = sentences(empty)["Perplexity"]
    assert "Training took the perplexity per word of gpt2-1m from" in text
    assert f"({MINUS}" in text
    assert "; sign-flip permutation test)" in text


def test_a_summary_is_tested_against_lead_3(empty: Any) -> None:
    scores = np.random.default_rng(2).normal(40, 5, 50)
    empty.add_run("r", model="bart-tiny")
    empty.add_items("r", "rouge", {"rouge1": scores, "lead3": scores - 3 + np.linspace(-0.1, 0.1, 50)})
    said = sentences(empty)["Summaries"]
    assert "the model minus the baseline is +3.000 points, 95 % interval [2.983, 3.017]" in said


# seeds


def test_runs_that_differ_in_their_seed_alone_are_one_configuration(seeded: Any) -> None:
    found = group_configurations(read_runs(seeded.runs))
    assert [(each.label, len(each.runs)) for each in found] == [("gpt2-1m", 3), ("gpt2-500k", 3)]


def test_another_setting_makes_another_configuration(empty: Any) -> None:
    for seed in (1, 2):
        empty.add_run(f"s{seed}", seed=seed)
    runs = read_runs(empty.runs)
    runs[1].specification["train"]["learning_rate"] = 2e-3
    assert group_configurations(runs) == []


def test_runs_that_failed_are_left_out_of_a_configuration(empty: Any) -> None:
    for seed, outcome in ((1, "finished"), (2, "diverged"), (3, "finished")):
        empty.add_run(f"s{seed}", seed=seed, outcome=outcome)
    assert [len(each.runs) for each in group_configurations(read_runs(empty.runs))] == [2]


def test_spread_is_the_sample_standard_deviation_with_students_interval() -> None:
    found = compute_spread([1.0, 2.0, 3.0])
    assert found is not None
    assert (found.mean, found.deviation, found.n) == (2.0, 1.0, 3)
    assert (found.low, found.high) == pytest.approx((2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), abs=1e-4)
    assert compute_spread([1.0]) is None


def test_seeds_that_are_all_the_same_have_no_interval() -> None:
    assert compute_spread([0.3, 0.1 + 0.2]) == Spread(pytest.approx(0.3), 0.0, 2)  # pyright: ignore[reportArgumentType]
    cell = spread_cell("acc", [0.5, 0.5])
    assert (cell.text, cell.detail) == ("50.0", "all the same")
    assert [cell.more[part] for part in ("standard_error", "low", "high")] == [None, None, None]


def test_equal_seeds_say_nothing_of_what_a_seed_moves(empty: Any) -> None:
    for seed in (1, 2):
        empty.add_run(f"s{seed}", seed=seed, end=1.5)
    assert "The seed alone" not in sentences(empty)["Training"]


def test_welchs_test_agrees_with_a_published_example() -> None:
    # Wikipedia, "Welch's t-test", first example: t = -2.46 with 25.0 degrees of freedom, P = 0.021
    first = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
    second = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4]
    found = welch(first, second)
    assert isinstance(found, RecipeTest)
    assert (found.p, found.degrees) == (pytest.approx(0.021, abs=5e-4), pytest.approx(25.0, abs=0.05))
    assert found.high < 0
    assert found.n == (15, 15)


def test_one_seed_or_no_spread_is_no_test() -> None:
    assert welch([1.0], [2.0, 3.0]) == "fewer than two seeds"
    for equal in ([1.0, 1.0], [0.1 + 0.2, 0.3]):
        assert welch(equal, [2.0, 3.0]) == "the seeds of one are all the same: no spread over seeds"
        assert welch([2.0, 3.0], equal) == "the seeds of one are all the same: no spread over seeds"


def test_equal_configurations_are_within_noise() -> None:
    found = welch([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert isinstance(found, RecipeTest)
    assert (found.difference, found.p) == (0.0, 1.0)


def test_losses_compare_over_seeds_on_the_same_dataset_alone(empty: Any) -> None:
    for dataset in ("tinyworld", "other"):
        for seed in (1, 2):
            empty.add_run(f"{dataset}{seed}", dataset=dataset, seed=seed)
    figures = summarise_seeds(group_configurations(read_runs(empty.runs)), [])
    assert [(figure.name, len(figure.values)) for figure in figures] == [
        ("training_loss", 1),
        ("validation_loss", 1),
        ("training_loss", 1),
        ("validation_loss", 1),
    ]


def test_mean_and_spread_over_seeds_have_a_row_apart(seeded: Any, outputs: dict[str, Any]) -> None:
    made = table(seeded)
    over = [row.cells for row in made.rows if row.section == SEEDS]
    assert [(cells["run"].text, cells["run"].detail) for cells in over] == [
        ("gpt2-1m", "3 seeds"),
        ("gpt2-500k", "3 seeds"),
    ]
    assert (over[0]["training_loss"].text, over[0]["training_loss"].detail) == ("1.200", "± 0.020")
    key = next(column.key for column in made.columns if column.key.endswith(":acc"))
    assert (over[0][key].text, over[0][key].detail) == ("60.0", "± 1.0")
    assert over[1][key].tip.startswith("gpt2-1m against this: +10.0 points")
    best, near = find_best_cells(made)
    assert best <= {id(cell) for cell in over[0].values()}  # no single seed is bold
    assert near <= {id(cell) for cell in over[1].values()}
    comparison.tabulate(seeded.study, runs=seeded.runs, evaluations=seeded.evaluations, parity=[], **outputs)
    row = next(row for row in csv_rows(outputs["numbers"]) if row["section"] == SEEDS)
    assert (row["run"], row["seed"], row["training_loss_seeds"]) == ("gpt2-1m, 3 seeds", "1, 2, 3", "3")
    assert float(row["training_loss"]) == pytest.approx(1.2)
    assert float(row["training_loss_standard_deviation"]) == pytest.approx(0.02)
    assert "mean ± standard deviation over seeds" in terminal_table.table(outputs["numbers"])
    assert "60.0 ± 1.0" in terminal_table.table(outputs["numbers"])


def test_configurations_are_compared_over_their_seeds(seeded: Any, outputs: dict[str, Any]) -> None:
    differences.tabulate(seeded.study, runs=seeded.runs, evaluations=seeded.evaluations, **outputs)
    over = [row for row in csv_rows(outputs["numbers"]) if row["section"].startswith("Configurations over their seeds")]
    assert [(row["score"], row["first"], row["verdict"], row["second"]) for row in over] == [
        ("training_loss", "gpt2-1m", "better", "gpt2-500k"),
        ("validation_loss", "gpt2-1m", "better", "gpt2-500k"),
        ("acc", "gpt2-1m", "better", "gpt2-500k"),
    ]
    assert over[0]["difference_unit"] == "nats"
    assert (over[0]["test_first_n"], over[0]["test_second_n"]) == ("3", "3")
    assert over[2]["test"] == "t-test over seeds and items"
    assert "3 and 3 seeds, 1,000 items" in outputs["table"].read_text()


def test_a_sentence_says_what_difference_so_many_seeds_can_find(seeded: Any) -> None:
    text = sentences(seeded)["Endings"]
    assert "mean ± standard deviation of accuracy over seeds: best is gpt2-1m 60.0 ± 1.0 (3 seeds), better than" in text
    assert "gpt2-500k 50.0 ± 1.0 (3 seeds) (difference: +10.0 points" in text
    found = re.search(r"With 3 seeds each on 1,000 items a difference of about ([\d.]+) points would be found", text)
    assert found
    # 2.8 standard errors and a little more by Student's t; of seeds (1 of each 3), and of items (0.1 of them differ)
    assert float(found[1]) == pytest.approx(2.85 * math.hypot(math.sqrt(2 / 3), 100 * math.sqrt(0.09 / 1000)), rel=0.02)
    assert "validation loss over seeds: best is gpt2-1m 1.261 ± 0.020 (3 seeds)" in sentences(seeded)["Training"]


def test_seeds_are_one_mark_of_the_scores_figure(seeded: Any, tmp_path: Path) -> None:
    scores.draw(seeded.study, runs=seeded.runs, evaluations=seeded.evaluations, output=tmp_path / "s.svg")
    text = (tmp_path / "s.svg").read_text()
    assert "gpt2-1m, over seeds" in text
    assert "gpt2-1m · seed 1" not in text
    assert "gpt2-250k · seed 1" in text
    assert "Diamonds: mean over seeds" in text


def test_the_overview_holds_verdicts_of_items_and_of_seeds(seeded: Any, tmp_path: Path) -> None:
    given = {"parity": [], "cells": [], "shortcuts": [], "models": seeded.models, "figures": {}}
    overview.write(
        seeded.study, runs=seeded.runs, evaluations=seeded.evaluations, **given, output=tmp_path / "overview.html"
    )
    page = (tmp_path / "overview.html").read_text()
    assert "McNemar&#39;s exact test" in page
    assert "Welch&#39;s t-test over seeds" in page
