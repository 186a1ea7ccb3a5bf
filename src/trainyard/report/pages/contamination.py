"""What the training text gave away: items that share an n-gram with it, and the scores without them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from trainyard.config.study import Study
from trainyard.core.files import write_text
from trainyard.core.statistics import Score, estimate_proportion
from trainyard.metrics import METRICS
from trainyard.report.pages.cells import score_cell
from trainyard.report.render.format import HEADINGS, SHARE, decimal, join_words, short, truncate
from trainyard.report.render.html import Cell, Column, Row, Table, missing_cell, render, render_fragment, to_csv
from trainyard.report.results.contamination import Overlap, read_overlaps
from trainyard.report.results.runs import Evaluation, Run, model_labels, read_evaluations, read_runs
from trainyard.report.statistics.decontaminated import (
    LENGTHS,
    PERMUTATIONS,
    StratifiedTest,
    compare_within_strata,
    make_strata,
    score_clean,
)
from trainyard.report.statistics.paired_tests import holm
from trainyard.report.statistics.pairwise import SIGNIFICANT, WITHIN, format_difference, format_p_value

LISTED = 50  # affected items of each pair on the page; the CSV has all
BEYOND = "beyond noise"
LONGEST = 160  # characters of an n-gram on the page


def tabulate(
    study: Study,
    *,
    runs: Sequence[Path],
    evaluations: Sequence[Path],
    contamination: Sequence[Path],
    table: Path,
    numbers: Path,
    scores: Path,
    affected: Path,
) -> None:
    """Write one page of three tables, and each of them as CSV.

    Args:
        study: gives the title.
        runs: folders with spec.json and summary.json: what each was trained on.
        evaluations: evaluation files, with their items beside them.
        contamination: contamination/*/*.json, with their items beside them.
        table: the HTML page.
        numbers: the CSV of what is shared.
        scores: the CSV of scores on all items and on the clean ones.
        affected: the CSV of the affected items.
    """
    trained = read_runs(runs)
    loaded_evaluations = read_evaluations(evaluations)
    overlaps = read_overlaps(contamination)
    shared = shared_table(overlaps, loaded_evaluations, trained)
    again = scores_table(overlaps, loaded_evaluations, trained)
    listing = items_table(overlaps)
    page = Table(listing.title, listing.columns, [row for each in overlaps for row in _items(each)[:LISTED]])
    page.notes, page.empty = listing.notes, listing.empty
    parts = [render_fragment(shared)]
    parts += [Markup("<h2>{}</h2>\n").format(part.title) + render_fragment(part) for part in (again, page)]
    write_text(table, render("page.html", title=shared.title, study_title=study.title, body=Markup("\n").join(parts)))
    for path, output_table in ((numbers, shared), (scores, again), (affected, listing)):
        write_text(path, to_csv(output_table))


def shared_table(overlaps: Sequence[Overlap], evaluations: Sequence[Evaluation], runs: Sequence[Run]) -> Table:
    """A row for each training text and set of items, and one for each set whose training text isn't looked through."""
    columns = [
        Column("items", "items of", text=True),
        Column("training", "training data", text=True),
        Column("contaminated", "contaminated", tip="items that share at least one n-gram with the training data"),
        Column("share", "share, %", tip="of all items"),
        Column("overlap", "n-grams shared, %", tip="of an item's n-grams, mean over the items that have any"),
        Column("n", "items"),
        Column("short", "too short", tip="items of fewer words than an n-gram: never contaminated"),
        Column("ngram", "n-gram, words"),
        Column("training_rows", "training rows"),
        Column("training_words", "training words"),
    ]
    rows = []
    for overlap in overlaps:
        raw = overlap.raw
        tip = f"{raw['texts']}; rows {raw['rows_sha256']}, training rows {raw['training_sha256']}"
        cells = {
            "items": Cell(overlap.title, overlap.title, tip=tip),
            "training": Cell(raw["training"], raw["training"]),
            "training_words": Cell(short(raw["training_words"]), raw["training_words"]),
        }
        if raw["share"] is None:
            cells |= dict.fromkeys(("share", "overlap"), missing_cell(raw["reason"]))
        else:
            cells["share"] = score_cell(SHARE, _share(raw["contaminated"], raw["n"]))
            cells["overlap"] = Cell(decimal(100 * raw["overlap"], 2), raw["overlap"])
        plain = ("contaminated", "n", "short", "ngram", "training_rows")
        rows.append(Row(cells | {key: Cell(f"{raw[key]:,}", raw[key]) for key in plain}))
    rows += [
        Row(
            {
                "items": Cell(title, title),
                "training": Cell(training, training),
                "contaminated": missing_cell(reason),
                "share": Cell("not searched", None, {"reason": reason}, tip=reason, kind="plain"),
            }
        )
        for title, training, reason in _find_unsearched(overlaps, evaluations, runs)
    ]
    notes = [
        "An item is contaminated if an n-gram of its words (in lower case, without punctuation) occurs in the training "
        "data. The whole training split is searched, though a run may have read less of it.",
        *_pretrained(overlaps, runs),
    ]
    return Table("Contamination", columns, rows, notes, "Contamination was not checked.")


def _share(contaminated: int, n: int) -> Score:
    """The share of contaminated items, with its error as of a sample of items like these."""
    estimate = estimate_proportion(np.arange(n) < contaminated)
    return Score(estimate.value, estimate.standard_error, estimate.low, estimate.high)


def _find_unsearched(
    overlaps: Sequence[Overlap], evaluations: Sequence[Evaluation], runs: Sequence[Run]
) -> list[tuple[str, str, str]]:
    """Items, training data and the reason, of evaluations that were not looked into."""
    known = {overlap.place for overlap in overlaps}
    datasets = {run.name: run.coordinates["dataset"] for run in runs}
    results = []
    for each in evaluations:
        items = f"{each.raw['dataset']} {each.raw['split']}"
        if each.run not in datasets:
            results.append((items, f"that of {each.run}", "trained elsewhere: its training text is not available"))
        elif (datasets[each.run], each.raw["dataset"], each.raw["split"]) not in known:
            results.append((items, datasets[each.run], "not requested by the study: evaluate.contamination"))
    return list(dict.fromkeys(results))


def _pretrained(overlaps: Sequence[Overlap], runs: Sequence[Run]) -> Iterator[str]:
    searched = {overlap.raw["training"] for overlap in overlaps}
    models = [
        run.coordinates["model"]
        for run in runs
        if run.specification["train"].get("initial") == "pretrained" and run.coordinates["dataset"] in searched
    ]
    if models:
        yield (
            f"{join_words(list(dict.fromkeys(models)))} started from pretrained weights, whose training data is not "
            "available and was not searched."
        )


def scores_table(overlaps: Sequence[Overlap], evaluations: Sequence[Evaluation], runs: Sequence[Run]) -> Table:
    """Each score of an affected evaluation on all items and on the clean ones; one of them compared with the others."""
    columns = [
        Column("model", "model", text=True),
        Column("items", "items of", text=True),
        Column("score", "score", text=True),
        Column("all", "all items"),
        Column("clean", "clean items"),
        Column("difference", "contaminated minus clean", tip="within levels, or within fifths by length"),
        Column("verdict", "", text=True),
        Column("n", "n, all"),
        Column("n_clean", "n, clean"),
    ]
    by_place = {overlap.place: overlap for overlap in overlaps}
    datasets = {run.name: run.coordinates["dataset"] for run in runs}
    affected = []
    for each, label in zip(evaluations, model_labels(runs, evaluations), strict=True):
        overlap = by_place.get((datasets.get(each.run, ""), each.raw["dataset"], each.raw["split"]))
        if overlap is not None and each.scores:
            affected.append(_Affected(each, label, overlap))
    found = _compare(affected)
    rows = [row for each in affected for row in _scores_again(each, found.get(each.evaluation.path))]
    notes = [
        "± is one standard error, [a, b] a 95 % interval. Contaminated items are compared with clean ones of the same "
        f"level, or where items have no levels of the same fifth by length ({LENGTHS} strata), for one score of each "
        "evaluation: what is contaminated may be easier or longer for other reasons. “Beyond noise”: p of a "
        f"permutation test within these strata ({PERMUTATIONS:,} permutations) is below 0.05 by Holm's correction for "
        "all models of the evaluation; the intervals are not corrected.",
    ]
    return Table("Scores on the clean items", columns, rows, notes, "No item that was scored is contaminated.")


@dataclass(frozen=True)
class _Affected:
    """An evaluation of items of which some may be contaminated."""

    evaluation: Evaluation
    label: str
    overlap: Overlap

    @cached_property
    def contaminated(self) -> np.ndarray | str:
        """Which of the items are, shape `(n,)`; a text says why that isn't known."""
        items = self.evaluation.items
        return items if isinstance(items, str) else np.isin(items.rows, list(self.overlap.affected))


def _compare(affected: Sequence[_Affected]) -> dict[Path, tuple[str, StratifiedTest | str, float | None]]:
    """The score that is compared, of each evaluation, how its contaminated items differ, and p by Holm."""
    groups: dict[str, list[_Affected]] = {}
    for each in affected:
        groups.setdefault(each.evaluation.raw["evaluation"], []).append(each)
    results: dict[Path, tuple[str, StratifiedTest | str, float | None]] = {}
    for group in groups.values():
        metric = METRICS[group[0].evaluation.metric]
        (name,) = metric.scores_of([metric.headline], [each.evaluation.scores for each in group])
        found = {each.evaluation.path: _compare_one(each, name) for each in group if name in each.evaluation.scores}
        adjusted = iter(holm([test.p for test in found.values() if isinstance(test, StratifiedTest)]))
        for path, test in found.items():
            results[path] = name, test, next(adjusted) if isinstance(test, StratifiedTest) else None
    return results


def _compare_one(affected: _Affected, name: str) -> StratifiedTest | str:
    items, contaminated = affected.evaluation.items, affected.contaminated
    if isinstance(items, str) or isinstance(contaminated, str):
        return str(items)
    lengths = np.array([affected.overlap.lengths.get(row, 0) for row in items.rows.tolist()])
    return compare_within_strata(items, contaminated, make_strata(items, lengths), name)


def _scores_again(affected: _Affected, compared: tuple[str, StratifiedTest | str, float | None] | None) -> list[Row]:
    evaluation, contaminated = affected.evaluation, affected.contaminated
    if not isinstance(contaminated, str) and not contaminated.any():
        return []
    rows = []
    for name, value in evaluation.scores.items():
        cells = {
            "model": Cell(
                affected.label, affected.label, {"name": evaluation.run, "checkpoint": evaluation.checkpoint}
            ),
            "items": Cell(evaluation.title, evaluation.raw["evaluation"]),
            "score": Cell(HEADINGS.get(name, name), name),
            "all": score_cell(name, value),
            "n": Cell(f"{evaluation.raw['n']:,}", evaluation.raw["n"]),
            "clean": _clean_cell(evaluation, contaminated, name),
        }
        if not isinstance(contaminated, str):
            count = int((~contaminated).sum())
            cells["n_clean"] = Cell(f"{count:,}", count)
        if compared and compared[0] == name:
            cells |= _compared_cells(*compared)
        rows.append(Row(cells))
    return rows


def _clean_cell(evaluation: Evaluation, contaminated: np.ndarray | str, name: str) -> Cell:
    items = evaluation.items
    if isinstance(items, str) or isinstance(contaminated, str):
        return missing_cell(str(items))
    if contaminated.all():
        return missing_cell("every item is contaminated")
    try:
        return score_cell(name, score_clean(items, ~contaminated, name, evaluation.raw["settings"]))
    except OverflowError:
        return missing_cell("too large for a number")


def _compared_cells(name: str, within: StratifiedTest | str, p: float | None) -> Mapping[str, Cell]:
    if isinstance(within, str) or p is None:
        return {"difference": missing_cell(str(within))}
    text, interval = format_difference(name, within)
    tip = f"p {format_p_value(p)} by Holm; permutation test within {within.strata} strata"
    numbers: dict[str, Any] = {"low": within.low, "high": within.high, "p": within.p, "p_holm": p}
    verdict = BEYOND if p < SIGNIFICANT else WITHIN
    return {
        "difference": Cell(text, within.difference, numbers, tip=tip, detail=interval),
        "verdict": Cell(verdict, verdict, kind="warn" if verdict == BEYOND else "muted"),
    }


def items_table(overlaps: Sequence[Overlap]) -> Table:
    """Every affected item, with the first n-gram that occurs in the training text."""
    columns = [
        Column("items", "items of", text=True),
        Column("training", "training data", text=True),
        Column("row", "row"),
        Column("ngrams", "n-grams"),
        Column("overlapping", "shared"),
        Column("share", "share, %"),
        Column("example", "first shared n-gram", text=True),
    ]
    rows = [row for overlap in overlaps for row in _items(overlap)]
    notes = [f"The first {LISTED} of each set of items; the CSV has all. Rows count from 0."]
    return Table("Affected items", columns, rows, notes, "No item is contaminated.")


def _items(overlap: Overlap) -> list[Row]:
    title, training = overlap.title, overlap.raw["training"]
    return [
        Row(
            {
                "items": Cell(title, title),
                "training": Cell(training, training),
                **{key: Cell(f"{item[key]:,}", item[key]) for key in ("row", "ngrams", "overlapping")},
                "share": Cell(
                    decimal(100 * item["overlapping"] / item["ngrams"], 1), item["overlapping"] / item["ngrams"]
                ),
                "example": Cell(truncate(item["example"], LONGEST), item["example"], kind="prose"),
            }
        )
        for item in overlap.affected.values()
    ]
