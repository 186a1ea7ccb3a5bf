"""Searches over recipes: lineage, budget, table and verdicts."""

import numpy as np
import pytest

from trainyard.report.pages import searches
from trainyard.report.pages.key_figures import make_cards
from trainyard.report.results.runs import read_runs
from trainyard.report.results.searches import read_recipe_searches
from trainyard.report.statistics.searches import compare_searches, find_reached

from .reading import csv_rows, evidence_of, sentences, svg_text
from .sample_results import Results

PBT = [[3.0, 2.5, "diverged", 2.8], [2.2, 2.1, 2.3, 2.4], [1.9, 1.8, 2.0, 2.05]]
GRID = [[3.0, 2.6, "diverged", 2.7], [2.5, 2.4, "diverged", 2.6], [2.3, 2.2, "diverged", 2.5]]


@pytest.fixture
def searched(empty: Results) -> Results:
    empty.add_recipe_search("pbt", PBT)
    empty.add_recipe_search("grid", GRID)
    return empty


def read(results: Results) -> list:
    return read_recipe_searches(results.study, results.generations, results.members, read_runs(results.runs))


def test_each_member_counts_its_own_steps_alone(searched: Results) -> None:
    pbt, grid = read(searched)
    assert pbt.spent("tokens") == [4 * 204_800, 8 * 204_800, 12 * 204_800]
    assert pbt.spent("hours") == pytest.approx([0.08, 0.16, 0.24])
    # who failed trains no more, where nobody takes its place
    assert grid.spent("tokens") == [4 * 204_800, 7 * 204_800, 10 * 204_800]
    assert pbt.best_losses() == [2.5, 2.1, 1.8]


def test_the_lineage_leads_over_copies(searched: Results) -> None:
    pbt, _ = read(searched)
    assert [member.slot for member in pbt.lineage()][-1] == 2
    copied = [member for member in pbt.members if member.copied]
    assert [member.slot for member in copied] == [3, 4]
    assert copied[0].replaced["outcome"] == "diverged"
    assert pbt.best.loss == 1.8


def test_both_are_asked_what_it_took_to_come_to_the_worse_of_their_ends(searched: Results) -> None:
    pbt, grid = read(searched)
    reached = find_reached(pbt, grid)
    assert reached is not None
    assert (reached.loss, reached.verdict) == (2.2, "held")
    assert reached.tokens == (8 * 204_800, 10 * 204_800)
    others = [find_reached(grid, pbt), find_reached(pbt, pbt)]
    assert [other and other.verdict for other in others] == ["contradicted", "not shown"]


@pytest.mark.parametrize(("difference", "verdict"), [(-0.5, "held"), (0.0, "not shown"), (0.5, "contradicted")])
def test_the_winners_are_judged_by_a_paired_test_on_test_scores(
    difference: float, verdict: str, searched: Results
) -> None:
    noise = np.random.default_rng(0)
    base = noise.normal(3.0, 0.5, 300)
    for run, shift in (("winner_rate-pbt", difference), ("winner_rate-grid", 0.0)):
        losses = base + shift + noise.normal(0, 0.5, 300)
        columns = {"row": np.arange(300), "log_likelihood": -10 * losses, "tokens": np.full(300, 10)}
        columns |= {"words": np.full(300, 8), "bytes": np.full(300, 40)}
        searched.add_items(run, "perplexity", columns, dataset="tinyworld")
    evidence = evidence_of(searched)
    (comparison,) = compare_searches(evidence.tuned, evidence.evaluations, None)
    assert comparison.better.verdict == verdict
    text = sentences(searched)["Search"]
    assert f"“rate-pbt finds a better recipe than rate-grid”: {verdict}. tinyworld test, perplexity" in text
    assert "“rate-pbt costs less than rate-grid”: held. To a validation loss of 2.200" in text


def test_the_time_of_a_study_is_that_of_all_members(searched: Results) -> None:
    (card,) = (each for each in make_cards(evidence_of(searched)) if each.title == "runs finished")
    assert (card.value, card.remark) == ("2 of 2", "13 min 12 s of training")  # 12 members and 10, 36 s each


def test_without_scores_the_winners_are_judged_by_validation_rows(searched: Results) -> None:
    text = sentences(searched)["Search"]
    assert "tinyworld validation, validation loss of the winners: " in text
    assert "rate-pbt, 4 members in 3 generations (2.46M tokens, 0.2400 device hours), of which 1 diverged" in text
    assert "with 2 copies: lowest validation loss 1.800 after 300 steps, at last with learning_rate" in text


def test_a_search_in_which_all_failed_says_why(empty: Results) -> None:
    empty.add_recipe_search("pbt", [["diverged", "diverged"], ["diverged", "diverged"]])
    empty.add_recipe_search("grid", [[2.0, 1.0], [1.5, 1.0]])
    text = sentences(empty)["Search"]
    assert "of which 2 diverged: no member has finished (" in text
    assert "“rate-pbt costs less than rate-grid”: not shown, since one of them has no validation loss." in text
    assert "not tested (one of them has no winner)." in text


@pytest.mark.parametrize("show", ["lineage", "budget"])
def test_figures_are_drawn_alike_each_time(show: searches.Show, searched: Results) -> None:
    given = {"runs": searched.runs, "generations": searched.generations, "members": searched.members}
    for name in ("a.svg", "b.svg"):
        searches.draw(searched.study, **given, show=show, output=searched.root / name)
    assert (searched.root / "a.svg").read_bytes() == (searched.root / "b.svg").read_bytes()
    text = svg_text(searched.root / "a.svg")
    assert "mathdefault" not in text
    for part in ["learning_rate", "dropout", "rate-grid"] if show == "lineage" else ["pbt", "grid", "predicted tokens"]:
        assert part in text


def test_the_table_has_a_row_for_each_member_with_its_parent_and_settings(searched: Results, outputs) -> None:
    given = {"runs": searched.runs, "generations": searched.generations, "members": searched.members}
    searches.tabulate(searched.study, **given, **outputs)
    rows = csv_rows(outputs["numbers"])
    assert len(rows) == 24
    copies = [row for row in rows if row["parent_copied"] == "True"]
    assert {(row["generation"], row["slot"]) for row in copies} >= {("2", "3")}
    assert [row["slot"] for row in rows if row["search"] == "rate-pbt" and row["slot_winner"] == "True"][-1] == "2"
    assert "<script>alert" not in outputs["table"].read_text()
