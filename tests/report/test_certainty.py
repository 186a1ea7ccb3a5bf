"""A figure of one item, or of items that all agree, is a value: no sentence, card or bold says how it compares."""

from collections.abc import Mapping
from typing import Any

import pytest

from trainyard.core.statistics import Score
from trainyard.report.pages import levels, quality, scores
from trainyard.report.pages.cells import score_cell
from trainyard.report.pages.comparison import compare
from trainyard.report.pages.key_figures import make_cards
from trainyard.report.render.html import Cell, Column, Row, Table, find_best_cells
from trainyard.report.results.runs import read_evaluations, read_runs

from .reading import evidence_of, sentences

FIGURES: Mapping[str, Mapping[str, float]] = {
    "hellaswag": {"acc": 1.0, "acc_norm": 1.0},
    "perplexity": {"perplexity_token": 9.0, "perplexity_word": 20.0, "perplexity_byte": 2.0},
    "rouge": {"rouge1": 33.3, "rouge2": 11.1, "rougeL": 22.2, "rougeLsum": 22.2},
}


@pytest.fixture
def two(empty: Any, request: pytest.FixtureRequest) -> Any:
    """Two models that were scored on one item each, the second half as well, and baselines."""
    metric = request.param
    empty.add_run("a", model="bart-tiny" if metric == "rouge" else "gpt2-1m")
    empty.add_run("b", model="bart-tiny" if metric == "rouge" else "gpt2-500k", recipe="other")
    for run, factor in (("a", 1.0), ("b", 0.5)):
        values = {name: (value * factor, None) for name, value in FIGURES[metric].items()}
        alone = {name: {"value": value, "standard_error": None} for name, value in FIGURES[metric].items()}
        more = {"baselines": {"lead3": alone}} if metric == "rouge" else {}
        settings = {"protocol": "harness", "shots": 0} if metric == "hellaswag" else {}
        empty.add_evaluation(run, metric, values, n=1, settings=settings, **more)
    return empty


@pytest.mark.parametrize("two", FIGURES, indirect=True)
def test_one_item_is_no_reason_to_compare(two: Any) -> None:
    said = " ".join(text for topic, text in sentences(two).items() if topic in ("Endings", "Perplexity", "Summaries"))
    assert said
    assert "interval" not in said
    assert "[" not in said
    assert "standard errors" not in said
    assert "noise" not in said
    titles = [card.title for card in make_cards(evidence_of(two))]
    assert titles == ["runs finished", "lowest validation loss"]


@pytest.mark.parametrize("two", FIGURES, indirect=True)
def test_the_better_of_two_single_items_is_not_bold(two: Any) -> None:
    table = compare(two.study, read_runs(two.runs), read_evaluations(two.evaluations), [])
    scored = [cell for row in table.rows for key, cell in row.cells.items() if ":" in key]
    assert scored
    best, near = find_best_cells(table)
    assert not {id(cell) for cell in scored} & (best | near)
    assert all(cell.detail == "" for cell in scored)


@pytest.mark.parametrize("two", FIGURES, indirect=True)
def test_figures_of_one_item_are_drawn_without_an_interval(two: Any, tmp_path: Any) -> None:
    given = {"runs": two.runs, "evaluations": two.evaluations}
    scores.draw(two.study, **given, output=tmp_path / "scores.svg")
    levels.draw(two.study, **given, shortcuts=[], output=tmp_path / "levels.svg")
    quality.draw(two.study, **given, shortcuts=[], prices=None, along="cost", output=tmp_path / "quality.svg")
    assert all(path.stat().st_size for path in tmp_path.glob("*.svg"))


def test_a_perfect_score_is_bold_where_wilsons_interval_tells_how_certain_it_is() -> None:
    perfect, other = score_cell("acc", Score(1.0, None, 0.97, 1.0)), score_cell("acc", Score(0.5, 0.05, 0.4, 0.6))
    best, near = find_best_cells(table_of(perfect, other))
    assert (best, near) == ({id(perfect)}, set())


def test_what_lies_within_wilsons_interval_of_a_perfect_score_is_marked() -> None:
    perfect, other = score_cell("acc", Score(1.0, None, 0.6, 1.0)), score_cell("acc", Score(0.8, 0.1, 0.6, 0.9))
    best, near = find_best_cells(table_of(perfect, other))
    assert (best, near) == ({id(perfect)}, {id(other)})


def table_of(*cells: Cell) -> Table:
    return Table("t", [Column("acc", "acc", best="high")], [Row({"acc": cell}) for cell in cells])
