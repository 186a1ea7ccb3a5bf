"""Every tested difference of a study: models on the same items, and configurations over seeds."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from trainyard.config.study import Study
from trainyard.metrics import METRICS
from trainyard.report.render.format import TITLES, plural
from trainyard.report.render.html import Cell, Column, Raw, Row, Table, write_table
from trainyard.report.results.item_scores import HALVES, SEED
from trainyard.report.results.runs import Evaluation, Run, model_labels, read_evaluations, read_runs, run_labels
from trainyard.report.statistics.paired_tests import PairedTest
from trainyard.report.statistics.pairwise import (
    BETTER,
    MOST,
    Pair,
    compare_configurations,
    compare_models,
    compare_runs,
    describe_sizes,
    format_difference,
    format_p_value,
    raw_difference_unit,
)
from trainyard.report.statistics.seeds import LOSSES, group_configurations, summarise_seeds
from trainyard.report.statistics.study import group_by_data

OVER_SEEDS = "Configurations over their seeds"
NOTES = [
    "Each difference is the first minus the second; the first has the better score. That of a perplexity is in percent "
    "of it; a perplexity per token or per byte of the same models has the same p.",
    "“Better”: p is below 0.05 by Holm's correction for all tests of the same score; “within noise”: it is not. "
    f"Of more than {MOST} models only the best is compared with the others, and the correction is for all pairs.",
    "McNemar's exact test counts the items that only one of the two models gets right; the sign-flip test permutes the "
    "signs of the differences of whole documents or rows, those of validation among them "
    f"({HALVES:,} draws from seed {SEED}). Both ask whether these trained models differ; a test over seeds asks "
    "whether their configurations do.",
]


def tabulate(study: Study, *, runs: Sequence[Path], evaluations: Sequence[Path], table: Path, numbers: Path) -> None:
    """Write the tested differences of a study as HTML and CSV.

    Args:
        study: gives the title.
        runs: folders with spec.json, summary.json and validation.parquet.
        evaluations: evaluation files, whose items are in Parquet files beside them.
        table: the HTML page.
        numbers: the CSV.
    """
    loaded_evaluations, known = read_evaluations(evaluations), read_runs(runs)
    rows = [
        *_of_models(known, loaded_evaluations),
        *_of_validation(known),
        *_over_seeds(known, loaded_evaluations),
    ]
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
    empty = "No two models of this study were evaluated, and no two runs validated, on the same items."
    write_table(Table("Paired differences", columns, rows, NOTES, empty), study.title, table, numbers)


def _of_models(runs: Sequence[Run], evaluations: Sequence[Evaluation]) -> Iterator[Row]:
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        if evaluation.scores:
            groups.setdefault(evaluation.raw["evaluation"], []).append(evaluation)
    for group in groups.values():
        names = model_labels(runs, group)
        specification: dict[str, list[Pair]] = {}
        metric = METRICS[group[0].metric]
        for name in metric.scores_of(metric.tested, [each.scores for each in group]):
            members = [index for index, each in enumerate(group) if name in each.scores]
            tested = compare_models([group[index] for index in members], name)
            same = next((other for other, known in specification.items() if known == tested and tested), None)
            if same is not None:
                continue  # the same answers by another name, as acc_norm where all endings are of one length
            specification[name] = tested
            for pair in tested:
                ends = [
                    Cell(names[members[end]], names[members[end]], {"run": group[members[end]].run})
                    for end in (pair.first, pair.second)
                ]
                yield _row(group[0].title, name, ends, pair)


def _of_validation(runs: Sequence[Run]) -> Iterator[Row]:
    for (dataset, tokenizer), group in group_by_data(runs).items():
        members = [run for _, run in group]
        labels = run_labels(runs, {run.name for run in members})
        for pair in compare_runs(members):
            ends = [
                Cell(labels[run.name], labels[run.name], {"run": run.name})
                for run in (members[pair.first], members[pair.second])
            ]
            yield _row(f"{dataset} validation ({tokenizer} tokens)", "validation_loss", ends, pair)


def _over_seeds(runs: Sequence[Run], evaluations: Sequence[Evaluation]) -> Iterator[Row]:
    names = {*LOSSES, *(name for metric in METRICS.values() for name in metric.tested)}
    figures = [figure for figure in summarise_seeds(group_configurations(runs), evaluations) if figure.name in names]
    for index, figure in enumerate(figures):
        earlier = [(known.title, known.checkpoint, known.values) for known in figures[:index] if known.evaluation]
        if (figure.title, figure.checkpoint, figure.values) not in earlier:
            section = f"{OVER_SEEDS}: {figure.title}"
            for pair in compare_configurations(figure):
                ends = [
                    Cell(label, label)
                    for label in (figure.configurations[end].label for end in (pair.first, pair.second))
                ]
                yield _row(section, figure.name, ends, pair)


def _row(location: str, name: str, ends: Sequence[Cell], pair: Pair) -> Row:
    test = pair.found
    cells = {
        "evaluation": Cell(location, location),
        "score": Cell(TITLES[name], name),
        "first": ends[0],
        "second": ends[1],
    }
    kind = "good" if pair.verdict == BETTER else "plain"
    if isinstance(test, str) or pair.p is None:
        cells["verdict"] = Cell(pair.verdict, pair.verdict, {"reason": str(test)}, kind=kind)
        cells["test"] = Cell(str(test), None, kind="prose")
        return Row(cells, location)
    value, interval = format_difference(name, test)
    cells["verdict"] = Cell(pair.verdict, pair.verdict, kind=kind)
    raw = {"low": test.low, "high": test.high, "unit": raw_difference_unit(name)}
    cells["difference"] = Cell(value, test.difference, raw, detail=interval)
    cells["p"] = Cell(format_p_value(test.p), test.p)
    cells["p_holm"] = Cell(format_p_value(pair.p), pair.p, {"tests": pair.tests}, tip=plural(pair.tests, "test"))
    one, other = (test.discordant or (None, None)) if isinstance(test, PairedTest) else test.n
    more: dict[str, Raw] = {"n": test.n if isinstance(test, PairedTest) else None, "first_n": one, "second_n": other}
    cells["test"] = Cell(test.test, test.test, more, detail=describe_sizes(test))
    return Row(cells, location)
