"""No headline is a configuration's luckiest seed: what a study asks is answered by means over seeds."""

import math

import numpy as np
import pytest

from trainyard.report.pages import comparison, overview, scaling
from trainyard.report.pages.cells import SEEDS
from trainyard.report.pages.key_figures import make_cards
from trainyard.report.results.runs import read_evaluations, read_runs
from trainyard.report.statistics.quality_curves import loss_charts
from trainyard.report.statistics.seeds import compute_spread, group_configurations, headline, summarise_seeds
from trainyard.tools import terminal_table

from .reading import csv_rows, evidence_of, sentences

SETTINGS = {"protocol": "harness", "shots": 0}
LUCKY, STEADY = (0.90, 0.50, 0.52), (0.70, 0.71, 0.72)  # by seed: the best seed is not of the best configuration


@pytest.fixture
def lucky(empty):
    """A recipe whose first seed is the best of all, and one that is better by its mean."""
    for recipe, shares in (("lucky", LUCKY), ("steady", STEADY)):
        for seed, share in enumerate(shares, 1):
            run = f"{recipe}-s{seed}"
            empty.add_run(run, recipe=recipe, seed=seed, end=2 - share)
            empty.add_items(run, "hellaswag", {"correct": np.arange(1000) < 1000 * share}, settings=SETTINGS)
            log_likelihood = np.full(50, -10 * (2 - share))
            empty.add_items(run, "perplexity", {"log_likelihood": log_likelihood}, dataset="tinyworld")
            empty.add_items(run, "rouge", {"rouge1": np.full(20, share)}, dataset="pairs")
    return empty


def test_the_best_configuration_is_the_one_of_the_best_mean_and_its_middle_seed_stands_for_it(lucky):
    runs = read_runs(lucky.runs)
    scores = [(run.name, "best", share) for run, share in zip(runs, (*LUCKY, *STEADY), strict=True)]
    head = headline(runs, scores, lower=False)
    assert (scores[head.place][0], head.values, head.label, head.several) == (
        "steady-s2",
        [0.70, 0.71, 0.72],
        "steady",
        True,
    )
    assert headline(runs, scores, lower=True).label == "lucky"


def test_every_card_is_a_mean_over_seeds_and_says_of_how_many(lucky):
    shown = {card.title: card for card in make_cards(evidence_of(lucky))}
    for title, value in (
        ("lowest validation loss", "1.351"),
        ("right endings", "71.0 %"),
        ("perplexity per word", "3.63"),
        ("ROUGE-L", "0.71"),
    ):
        card = shown[title]
        assert card.value == value, title
        assert card.remark.startswith("mean of 3 seeds, 95 % interval "), title
        assert "; steady" in card.remark, title


@pytest.mark.parametrize("topic", ["Training", "Endings", "Perplexity", "Summaries"])
def test_the_first_sentence_names_the_best_configuration_with_its_seeds_and_none_names_the_luckiest(lucky, topic):
    text = sentences(lucky)[topic]
    first = text.partition(". ")[0]
    assert "over seeds: best is steady" in first
    assert "(3 seeds)" in first
    assert "lucky \N{MIDDLE DOT} seed 1" not in text
    assert "Second is" not in text


def test_levels_and_baselines_are_told_of_the_middle_seed(lucky):
    assert (
        "steady \N{MIDDLE DOT} seed 2, the middle one of its 3 seeds, is right in 71.0" in (sentences(lucky)["Endings"])
    )


def test_bold_and_the_first_rows_are_those_over_seeds_on_the_page_and_in_the_terminal(lucky, outputs, tmp_path):
    comparison.tabulate(lucky.study, runs=lucky.runs, evaluations=lucky.evaluations, parity=[], **outputs)
    page = outputs["table"].read_text()
    assert page.index(SEEDS) < page.index("Each run") < page.index(">lucky \N{MIDDLE DOT} seed 1<")
    assert 'best" data-value="0.71' in page
    assert 'best" data-value="0.9"' not in page
    assert [row["section"] for row in csv_rows(outputs["numbers"])][:2] == [SEEDS, SEEDS]
    shown = terminal_table.table(outputs["numbers"])
    assert shown.startswith("mean ± standard deviation over seeds\n")
    assert shown.index("mean ± standard deviation over seeds") < shown.index("each run")
    given = {"parity": [], "cells": [], "shortcuts": [], "models": lucky.models, "figures": {}}
    overview.write(lucky.study, runs=lucky.runs, evaluations=lucky.evaluations, **given, output=tmp_path / "o.html")
    assert 'best" data-value="0.9"' not in (tmp_path / "o.html").read_text()


def test_a_size_is_the_mean_over_seeds_of_its_best_configuration(lucky):
    (point,) = [each for each in scaling.gather(lucky.study, read_runs(lucky.runs), lucky.models) if not each.published]
    assert point.loss == pytest.approx(2 - 0.71 + 0.06, abs=2e-3)


def test_a_configuration_of_one_seed_is_named_as_left_out_and_its_card_says_so(lucky):
    lucky.add_run("single", recipe="once", end=0.9)
    assert "Left out, with one seed only: once." in sentences(lucky)["Training"]
    (card,) = [card for card in make_cards(evidence_of(lucky)) if card.title == "lowest validation loss"]
    assert card.remark.startswith("one seed; once")


def test_a_line_over_seeds_names_no_seed_though_one_failed(empty):
    for seed, outcome in ((1, "finished"), (2, "finished"), (3, "diverged")):
        empty.add_run(f"s{seed}", seed=seed, outcome=outcome)
    (chart,) = loss_charts(empty.study, read_runs(empty.runs), None)
    assert [line.label for line in chart.lines] == ["gpt2-1m, 2 seeds", "gpt2-1m \N{MIDDLE DOT} seed 3"]


def test_a_seed_whose_figure_is_no_finite_number_leaves_its_configuration_without_a_spread(empty):
    assert compute_spread([1.0, math.inf]) is None
    assert compute_spread([math.nan, 1.0]) is None
    for seed in (1, 2):
        empty.add_run(f"r{seed}", seed=seed)
        values = {"loss_token": (4.0, 0.1), "perplexity_word": (math.inf if seed == 2 else 60.0, 1.0)}
        empty.add_evaluation(f"r{seed}", "perplexity", values, dataset="tinyworld")
    runs = read_runs(empty.runs)
    summaries = summarise_seeds(group_configurations(runs), read_evaluations(empty.evaluations))
    assert "loss_token" in {summary.name for summary in summaries}
    assert "perplexity_word" not in {summary.name for summary in summaries}
