"""Quality by step as a table: every evaluated model with what it had cost and all of its scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainyard.config.prices import Prices
from trainyard.config.study import Study
from trainyard.report.charts import headline
from trainyard.report.comparison import describe
from trainyard.report.costs import FLOPS, Cost, asked, cost_at, front, step_of
from trainyard.report.format import SHORT_TITLES, SHOWN, fixed, scientific, short
from trainyard.report.html import Cell, Column, Row, Table, missing, write_table
from trainyard.report.results import Evaluation, Run, read_evaluations, read_runs, run_labels
from trainyard.report.table_cells import score_cell


def tabulate(
    study: Study,
    *,
    runs: Sequence[Path],
    evaluations: Sequence[Path],
    prices: Prices | None,
    table: Path,
    numbers: Path,
) -> None:
    """Write every evaluated model with its cost and all of its scores as HTML and CSV.

    Args:
        study: gives the title.
        runs: folders with spec.json, summary.json and metrics.jsonl.
        evaluations: evaluation files of every evaluated step; pretrained models, which cost nothing here, are left out.
        prices: of a device's hour.
        table: the HTML page.
        numbers: the CSV.
    """
    known = read_runs(runs)
    found = [each for each in read_evaluations(evaluations) if each.run in {run.name for run in known}]
    labels = run_labels(known, {each.run for each in found})
    groups: dict[str, list[Evaluation]] = {}
    for each in found:
        groups.setdefault(each.raw["evaluation"], []).append(each)
    figures = {name: headline(group) for name, group in groups.items()}
    fronts = _fronts(known, found, figures)
    rows = []
    for run in known:
        own: dict[str, list[Evaluation]] = {}
        for each in found:
            if each.run == run.name:
                own.setdefault(each.checkpoint, []).append(each)
        steps = {name: step_of(group[0], run) for name, group in own.items()}
        for name in sorted(own, key=lambda name: steps[name] or 0):
            cells = {"run": Cell(labels[run.name], run.name, tip=run.name), "checkpoint": Cell(name, name)}
            cells |= _cost_cells(cost_at(run, steps[name] or 0, prices), run)
            for each in own[name]:
                cells |= _score_cells(each, fronts, figures[each.raw["evaluation"]])
            rows.append(Row(cells))
    currency = prices.currency if prices else ""
    columns = [
        Column("run", "run", text=True),
        Column("checkpoint", "checkpoint", text=True),
        Column("step", "step", "cost of training"),
        Column("tokens", "tokens", "cost of training", tip="predicted tokens, over all processes"),
        Column("flops", "FLOPs", "cost of training", tip=FLOPS),
        Column("hours", "device hours", "cost of training", tip="elapsed time x processes"),
        Column("money", currency, "cost of training"),
    ]
    for name, (each, *_) in groups.items():
        best = "low" if each.metric == "perplexity" else "high"
        columns += [
            Column(f"{name}:{figure}", SHORT_TITLES[figure], each.title, best, shown=figure == figures[name])
            for figure in SHOWN[each.metric]
        ]
    used = {key for row in rows for key, cell in row.cells.items() if cell.value is not None}
    columns = [column for column in columns if column.key in used]
    write_table(
        Table("Quality by step", columns, rows, _notes(prices), "Nothing was evaluated."), study.title, table, numbers
    )


def _fronts(runs: Sequence[Run], evaluations: Sequence[Evaluation], figures: Mapping[str, str]) -> set[Path]:
    """The evaluations whose headline no cheaper model of the study reaches: by FLOPs, or by device hours.

    A headline of which nothing tells how certain it is takes no part.
    """
    known = {run.name: run for run in runs}
    groups: dict[str, list[tuple[Evaluation, Cost]]] = {}
    for each in evaluations:
        cost = cost_at(known[each.run], step_of(each, known[each.run]) or 0)
        value = each.scores.get(figures[each.raw["evaluation"]])
        if cost and value and value.one_error is not None:
            groups.setdefault(each.raw["evaluation"], []).append((each, cost))
    found = set()
    for name, group in groups.items():
        figure = figures[name]
        counted = all(cost.flops is not None for _, cost in group)
        points = [(cost.flops if counted else cost.hours, each.scores[figure].value) for each, cost in group]
        places = front([(cost or 0.0, value) for cost, value in points], group[0][0].metric != "perplexity")
        if len({point[0] for point in points}) > 1:
            found |= {group[place][0].path for place in places}
    return found


def _cost_cells(cost: Cost | None, run: Run) -> dict[str, Cell]:
    if cost is None:
        return {"step": missing("the run has no such step")}
    cells = {
        "step": Cell(f"{cost.step:,.0f}", cost.step),
        "tokens": Cell(short(cost.tokens), cost.tokens, tip=f"{cost.tokens:,.0f}"),
        "flops": missing("counted for causal models alone: an encoder-decoder reads other tokens than it predicts"),
        "hours": Cell(_hours(cost.hours), cost.hours, {"timing": run.summary["timing"]}),
    }
    if cost.flops is not None:
        cells["flops"] = Cell(scientific(cost.flops), cost.flops)
    if cost.money is not None:
        cells["money"] = Cell(_hours(cost.money), cost.money)
    return cells


def _hours(value: float) -> str:
    """Two decimals, more where they would read as nothing."""
    return fixed(value, 2 if value >= 1 else 4)


def _score_cells(evaluation: Evaluation, fronts: set[Path], drawn: str) -> dict[str, Cell]:
    group, scores = evaluation.raw["evaluation"], evaluation.scores
    cells = {}
    for name in SHOWN[evaluation.metric]:
        if name not in scores:
            cells[f"{group}:{name}"] = missing(evaluation.reason_for(name))
            continue
        on_front = evaluation.path in fronts and name == drawn
        remark, tip = ("front", f"no cheaper model is as good; {describe(evaluation)}") if on_front else ("", "")
        more = {"n": evaluation.raw["n"], "front": on_front}
        cells[f"{group}:{name}"] = score_cell(
            name, scores[name], tip=tip or describe(evaluation), remark=remark, **more
        )
    return cells


def _notes(prices: Prices | None) -> list[str]:
    notes = [
        "Cost is that of training up to the step: what a pretrained start had cost before is not in it. "
        f"FLOPs are {FLOPS}, N all parameters, as the MFU counts them, for causal models. Device hours are elapsed "
        "time, validation and saving included, x processes; where other jobs ran on the machine they say little.",
        "“front”: no other model that cost as little or less is as good, by FLOPs (by device hours where FLOPs are not "
        "counted) and by the figure that is drawn; an interval may hold another order.",
        "± is one standard error, [a, b] a 95 % interval. Point at a value for protocol, number of items and settings.",
        "One figure of each evaluation stands here, the one that is drawn; the CSV has all of them.",
    ]
    return [*notes, f"{prices.currency} for {asked(prices)}."] if prices else notes
