"""Every tested difference of a study: models on the same items, and configurations over seeds."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from trainyard.config.study import Study
from trainyard.metrics import METRICS
from trainyard.report.render.format import TITLES, counted
from trainyard.report.render.html import Cell, Column, Raw, Row, Table, write_table
from trainyard.report.results.item_scores import RESAMPLES, SEED
from trainyard.report.results.runs import Evaluation, Run, model_labels, read_evaluations, read_runs
from trainyard.report.statistics.paired_tests import Paired
from trainyard.report.statistics.pairwise import (
    BETTER,
    MOST,
    Pair,
    apart,
    likely,
    name_of,
    pairs,
    pairs_over_seeds,
    raw_unit,
    sizes,
)
from trainyard.report.statistics.seeds import LOSSES, configurations, repeated

OVER_SEEDS = "Configurations over their seeds"
NOTES = [
    "Each difference is the first minus the second; the first has the better score. That of a perplexity is in percent "
    "of it; a perplexity per token or per byte of the same models has the same p.",
    "“Better”: p is below 0.05 by Holm's correction for all tests of the same score; “within noise”: it is not. "
    f"Of more than {MOST} models only the best is compared with the others, and the correction is for all pairs.",
    "McNemar's exact test counts the items that only one of the two models gets right; the paired bootstrap draws "
    f"whole documents or rows ({RESAMPLES:,} resamples from seed {SEED}). Both ask whether these trained models "
    "differ; a test over seeds asks whether their configurations do.",
]


def tabulate(study: Study, *, runs: Sequence[Path], evaluations: Sequence[Path], table: Path, numbers: Path) -> None:
    """Write the tested differences of a study as HTML and CSV.

    Args:
        study: gives the title.
        runs: folders with spec.json and summary.json.
        evaluations: evaluation files, whose items are in Parquet files beside them.
        table: the HTML page.
        numbers: the CSV.
    """
    found, known = read_evaluations(evaluations), read_runs(runs)
    rows = [*_of_models(known, found), *_over_seeds(known, found)]
    columns = [
        Column("evaluation", "evaluation", text=True, shown=False),
        Column("score", "score", text=True),
        Column("first", "first", text=True),
        Column("verdict", "is", text=True),
        Column("second", "second", text=True),
        Column("difference", "first minus second"),
        Column("p", "p"),
        Column("p_holm", "p by Holm", tip="corrected for all tests of the same score"),
        Column("test", "test", text=True),
    ]
    empty = "No two models of this study were evaluated on the same items."
    write_table(Table("Paired differences", columns, rows, NOTES, empty), study.title, table, numbers)


def _of_models(runs: Sequence[Run], evaluations: Sequence[Evaluation]) -> Iterator[Row]:
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        if evaluation.scores:
            groups.setdefault(evaluation.raw["evaluation"], []).append(evaluation)
    for group in groups.values():
        names = model_labels(runs, group)
        told: dict[str, list[Pair]] = {}
        metric = METRICS[group[0].metric]
        for name in metric.scores_of(metric.tested, [each.scores for each in group]):
            members = [place for place, each in enumerate(group) if name in each.scores]
            tested = pairs([group[place] for place in members], name)
            same = next((other for other, known in told.items() if known == tested and tested), None)
            if same is not None:
                continue  # the same answers by another name, as acc_norm where all endings are of one length
            told[name] = tested
            for pair in tested:
                ends = [
                    Cell(names[members[end]], names[members[end]], {"run": group[members[end]].run})
                    for end in (pair.first, pair.second)
                ]
                yield _row(group[0].title, name, ends, pair)


def _over_seeds(runs: Sequence[Run], evaluations: Sequence[Evaluation]) -> Iterator[Row]:
    names = {*LOSSES, *(name for metric in METRICS.values() for name in metric.tested)}
    figures = [figure for figure in repeated(configurations(runs), evaluations) if figure.name in names]
    for index, figure in enumerate(figures):
        told = [(known.title, known.checkpoint, known.values) for known in figures[:index] if known.evaluation]
        if (figure.title, figure.checkpoint, figure.values) not in told:
            place = f"{OVER_SEEDS}: {figure.title}"
            for pair in pairs_over_seeds(figure):
                ends = [
                    Cell(label, label)
                    for label in (figure.configurations[end].label for end in (pair.first, pair.second))
                ]
                yield _row(place, figure.name, ends, pair)


def _row(place: str, name: str, ends: Sequence[Cell], pair: Pair) -> Row:
    found = pair.found
    cells = {
        "evaluation": Cell(place, place),
        "score": Cell(TITLES[name].removesuffix(", %"), name),
        "first": ends[0],
        "second": ends[1],
    }
    kind = "good" if pair.verdict == BETTER else "plain"
    if isinstance(found, str) or pair.p is None:
        cells["verdict"] = Cell(pair.verdict, pair.verdict, {"reason": str(found)}, kind=kind)
        cells["test"] = Cell(str(found), None, kind="prose")
        return Row(cells, place)
    value, interval = apart(name, found)
    cells["verdict"] = Cell(pair.verdict, pair.verdict, kind=kind)
    raw = {"low": found.low, "high": found.high, "unit": raw_unit(name, found)}
    cells["difference"] = Cell(value, found.difference, raw, detail=interval)
    cells["p"] = Cell(likely(found.p), found.p)
    cells["p_holm"] = Cell(likely(pair.p), pair.p, {"tests": pair.tests}, tip=counted(pair.tests, "test"))
    one, other = (found.discordant or (None, None)) if isinstance(found, Paired) else found.n
    more: dict[str, Raw] = {"n": found.n if isinstance(found, Paired) else None, "first_n": one, "second_n": other}
    cells["test"] = Cell(name_of(found), name_of(found), more, detail=sizes(found))
    return Row(cells, place)
