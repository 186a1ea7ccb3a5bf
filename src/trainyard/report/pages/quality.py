"""Quality by step, and against what it cost: FLOPs, device hours, money."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from trainyard.config.settings import Prices
from trainyard.config.study import Study
from trainyard.metrics import METRICS
from trainyard.report.pages.cells import score_cell
from trainyard.report.pages.comparison import describe
from trainyard.report.pages.curves import pick_coordinate
from trainyard.report.render import style
from trainyard.report.render.format import (
    SHORT_TITLES,
    TABLE_SCORES,
    decimal,
    join_words,
    plural,
    scientific,
    score,
    short,
    tick,
    truncate,
)
from trainyard.report.render.html import Cell, Column, Row, Table, missing_cell, write_table
from trainyard.report.results.runs import Evaluation, Run, read_evaluations, read_runs, run_labels
from trainyard.report.results.shortcuts import read_shortcuts
from trainyard.report.statistics.cost import FLOPS, Cost, cost_at, describe_prices, ends_schedule, pareto_front, step_of
from trainyard.report.statistics.paired_tests import PairedTest
from trainyard.report.statistics.pairwise import SIGNIFICANT, describe_p_value
from trainyard.report.statistics.quality_curves import LOSS, Chart, Line, loss_charts, plotted_score, score_charts
from trainyard.report.statistics.recipes import RecipeTest
from trainyard.report.statistics.study import Evidence
from trainyard.report.statistics.validation import compare_validation, compare_validation_of_recipes

Along = Literal["step", "cost"]
FEW = 8
LONGEST = 28
DOTTED = 12  # points of a line that are marked, at most
TALL = 3.2  # inches of a chart
ONCE = (
    "Each run was evaluated once. `train: {keep_steps: [...]}` with `evaluate: {checkpoints: [best, kept]}` shows how "
    "quality grows."
)
BEST = "#fcd34d"
MARGIN, GAP = 0.25, 0.065  # parts of the width: for labels on the right, left of each panel
LEAST_TICKS = 4  # else they are spaced evenly
ACROSS = 4  # entries of the legend in a row
MOST_LISTED = 5  # members of a front in a sentence; of more its ends are named


@dataclass(frozen=True)
class Axis:
    """What runs along the bottom of a panel."""

    title: str
    value: Callable[[Cost], float | None]
    text: Callable[[float], str]
    logarithmic: bool


def draw(
    study: Study,
    *,
    runs: Sequence[Path],
    evaluations: Sequence[Path],
    shortcuts: Sequence[Path],
    prices: Prices | None,
    along: Along,
    output: Path,
) -> None:
    """Draw a row for each evaluation: every run a line of its evaluated steps, with 95 % intervals.

    By step there is a panel of steps, and one of tokens where runs differ in tokens per step.
    Against cost there is a panel of training FLOPs and one of device hours, or of money where
    hours have a price; validation loss is there too, and the front of what is best at each cost: among the ends of
    schedules alone, since a model from the middle of one is not what a run of that cost gives.

    Args:
        study: gives the published results.
        runs: folders with spec.json, summary.json and metrics.jsonl.
        evaluations: evaluation files of every evaluated step, and of pretrained models.
        shortcuts: shortcuts/*.json.
        prices: of a device's hour.
        along: what runs along the bottom.
        output: the SVG.
    """
    known = read_runs(runs)
    charts = score_charts(study, known, read_evaluations(evaluations), read_shortcuts(shortcuts), prices)
    if along == "step":
        charts = [chart for chart in charts if any(len(line.points) > 1 for line in chart.lines)]
    else:
        charts = [*loss_charts(study, known, prices), *charts]
        charts = [
            chart
            for chart in charts
            if len(chart.lines) > 1 or (chart.figure != LOSS and len(chart.lines[0].points) > 1)
        ]
    if not charts:
        style.draw_empty(output, ONCE if along == "step" else "No two models of this study have a cost and a score.")
        return
    few = max(len(chart.lines) for chart in charts) <= FEW
    coordinate = None if few else pick_coordinate([line.run for chart in charts for line in chart.lines])
    tints = style.assign_colours([_key(line, coordinate) for chart in charts for line in chart.lines])
    handles = [Line2D([], [], color=tint, label=truncate(text, LONGEST)) for text, tint in tints.items() if coordinate]
    handles += (
        [Line2D([], [], color=BEST, linewidth=6, label="best at each cost, of ends of schedules")]
        if along == "cost"
        else []
    )
    axes = [_axes(chart, along, prices) for chart in charts]
    head = 0.1 + 0.25 * math.ceil(len(handles) / ACROSS)
    height = TALL * len(charts) + head + 0.1
    width = (1 - MARGIN) / max(len(chosen) for chosen in axes) - GAP
    with style.figure(output, height=height) as drawing:
        for index, (chart, chosen) in enumerate(zip(charts, axes, strict=True)):
            top = height - head - TALL * index
            drawing.text(0.012, top / height, truncate(chart.title, 80), fontsize=12, fontweight="bold", va="top")
            colours = [tints[_key(line, coordinate)] for line in chart.lines]
            for column, axis in enumerate(chosen):
                bounds = (GAP + column * (width + GAP), (top - TALL + 0.72) / height, width, (TALL - 1.1) / height)
                panel = drawing.add_axes(bounds)
                _panel(panel, chart, axis, colours, marked=few)
                panel.set_ylabel(chart.unit if column == 0 else "", fontsize=10)
                if axis is chosen[-1]:
                    style.label_ends(panel, _ends(chart, colours if few else []))
        if handles:
            drawing.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.995, 1.0), ncols=ACROSS)
        if along == "cost":
            style.note(
                drawing,
                "Dots: ends of schedules. Times were taken while other jobs ran: compare FLOPs, not hours or money.",
            )


def _key(line: Line, coordinate: str | None) -> str:
    """What gives a line its colour."""
    return line.run.coordinates[coordinate] if coordinate else line.name


def _axes(chart: Chart, along: Along, prices: Prices | None) -> list[Axis]:
    """The panels of a chart: those that say something, of which all its lines have the figure."""
    costs = [point.cost for line in chart.lines for point in line.points]
    if along == "step":
        axes = [Axis("optimizer step", lambda cost: cost.step, tick, False)]
        if len({round(cost.tokens / cost.step) for cost in costs}) > 1:
            axes.append(Axis("predicted tokens", lambda cost: cost.tokens, tick, False))
        return axes
    hours = Axis("device hours (elapsed time x processes)", lambda cost: cost.hours, tick, True)
    if prices and all(cost.money is not None for cost in costs):
        hours = Axis(f"{truncate(prices.currency, 8)} ({describe_prices(prices)})", lambda cost: cost.money, tick, True)
    if any(cost.flops is None for cost in costs):
        return [hours]
    return [Axis(f"training FLOPs, {FLOPS}", lambda cost: cost.flops, scientific, True), hours]


def _panel(panel: Axes, chart: Chart, axis: Axis, colours: Sequence[str], marked: bool) -> None:
    scale = chart.scale
    points, ends = [], []
    for line, colour in zip(chart.lines, colours, strict=True):
        x = [axis.value(point.cost) or 0.0 for point in line.points]
        y = [scale * point.score.value for point in line.points]
        points += list(zip(x, y, strict=True))
        ends += [place for place, point in zip(zip(x, y, strict=True), line.points, strict=True) if point.is_end]
        bars = [[scale * point.score.error_bar[side] for point in line.points] for side in (0, 1)]
        marks = [place for place, point in enumerate(line.points) if point.is_end] if axis.logarithmic else None
        dots = "o-" if axis.logarithmic or (marked and len(x) <= DOTTED) else "-"
        panel.errorbar(
            x, y, yerr=bars if any(map(any, bars)) else None, fmt=dots, color=colour, markersize=4.5, linewidth=1.6,
            elinewidth=1.1, capsize=2, zorder=3, markevery=marks,
        )  # fmt: skip
    for _, value in chart.levels:
        panel.axhline(scale * value, color=style.FAINT, linewidth=1.1, linestyle=(0, (5, 4)), zorder=1)
    _limits(panel, chart, axis, points)
    if axis.logarithmic and ends:
        best = [ends[index] for index in pareto_front(ends, chart.high)]
        x, y = [[point[side] for point in best] for side in (0, 1)]
        panel.plot(
            [*x, panel.get_xlim()[1]], [*y, y[-1]], drawstyle="steps-post", color=BEST, alpha=0.6, linewidth=6, zorder=2
        )
    panel.set_xlabel(axis.title, fontsize=9.5)


def _limits(panel: Axes, chart: Chart, axis: Axis, points: Sequence[tuple[float, float]]) -> None:
    """Scales, limits and ticks: cost on a logarithmic axis, and losses and perplexities too."""
    scale = chart.scale
    intervals = [point.score.interval for line in chart.lines for point in line.points]
    ends = [scale * end for interval in intervals if interval for end in interval]
    values = [*(y for _, y in points), *ends, *(scale * value for _, value in chart.levels)]
    low, high = min(values), max(values)
    if chart.high:
        room = 0.07 * (high - low) or 1.0
        panel.set_ylim(max(0.0, low - room), high + room)
        panel.yaxis.set_major_locator(MaxNLocator(5))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    else:
        low = min((value for value in values if value > 0), default=1.0)
        high = max(low, high)
        room = (high / low) ** 0.07 if high > low else 1.05
        panel.set_yscale("log")
        panel.set_ylim(low / room, high * room)
        _log_ticks(panel.yaxis, low / room, high * room, 0.12, tick)
    x = [cost for cost, _ in points]
    if axis.logarithmic:
        low, high = min(x), max(x)
        room = (high / low) ** 0.06 if high > low else 1.5
        panel.set_xscale("log")
        panel.set_xlim(low / room, high * room)
        _log_ticks(panel.xaxis, low / room, high * room, 0.17, axis.text)
    else:
        panel.set_xlim(0, 1.04 * max(x))
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: axis.text(value)))


def _log_ticks(axis: Any, low: float, high: float, apart: float, text: Callable[[float], str]) -> None:
    """Round numbers on a logarithmic axis, no two nearer than `apart` of its length."""
    choices = [
        LogLocator(subs=subs, numticks=99).tick_values(low, high) for subs in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0))
    ]
    inside = [[index for index in places if low <= index <= high] for places in choices]
    linear = [index for index in MaxNLocator(5).tick_values(low, high) if low <= index <= high]
    places: list[float] = []
    for index in next((found for found in inside if len(found) >= LEAST_TICKS), linear):
        if not places or math.log(index / places[-1]) >= apart * math.log(high / low):
            places.append(index)
    axis.set_ticks(places)
    axis.set_ticks([], minor=True)
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_formatter(NullFormatter())


def _ends(chart: Chart, colours: Sequence[str]) -> list[tuple[float, str, str]]:
    """A label for the end of each line, unless there are too many, and for each level."""
    ends = [
        (line.points[-1].score.value, line.label, colour) for line, colour in zip(chart.lines, colours, strict=False)
    ]
    ends += [(value, text, style.FAINT) for text, value in chart.levels]
    digits = 3 if chart.figure == LOSS else None
    return [
        (chart.scale * value, f"{truncate(text, LONGEST)}  {score(chart.figure, value, digits)}", colour)
        for value, text, colour in ends
    ]


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
    loaded_evaluations = [each for each in read_evaluations(evaluations) if each.run in {run.name for run in known}]
    labels = run_labels(known, {each.run for each in loaded_evaluations})
    groups: dict[str, list[Evaluation]] = {}
    for each in loaded_evaluations:
        groups.setdefault(each.raw["evaluation"], []).append(each)
    figures = {name: plotted_score(group) for name, group in groups.items()}
    fronts = _find_pareto_fronts(known, loaded_evaluations, figures)
    rows = []
    for run in known:
        own: dict[str, list[Evaluation]] = {}
        for each in loaded_evaluations:
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
        best = METRICS[each.metric].best
        columns += [
            Column(f"{name}:{figure}", SHORT_TITLES[figure], each.title, best, shown=figure == figures[name])
            for figure in TABLE_SCORES[each.metric]
        ]
    used = {key for row in rows for key, cell in row.cells.items() if cell.value is not None}
    columns = [column for column in columns if column.key in used]
    write_table(
        Table("Quality by step", columns, rows, _notes(prices), "Nothing was evaluated."), study.title, table, numbers
    )


def _find_pareto_fronts(
    runs: Sequence[Run], evaluations: Sequence[Evaluation], figures: Mapping[str, str]
) -> set[Path]:
    """The evaluations whose headline no cheaper model at the end of its schedule reaches: by FLOPs, or device hours.

    A headline of which nothing tells how certain it is takes no part.
    """
    known = {run.name: run for run in runs}
    groups: dict[str, list[tuple[Evaluation, Cost]]] = {}
    for each in evaluations:
        step = step_of(each, known[each.run]) or 0
        cost = cost_at(known[each.run], step) if ends_schedule(known[each.run], step) else None
        value = each.scores.get(figures[each.raw["evaluation"]])
        if cost and value and value.effective_error is not None:
            groups.setdefault(each.raw["evaluation"], []).append((each, cost))
    seen = set()
    for name, group in groups.items():
        figure = figures[name]
        counted = all(cost.flops is not None for _, cost in group)
        points = [(cost.flops if counted else cost.hours, each.scores[figure].value) for each, cost in group]
        places = pareto_front(
            [(cost or 0.0, value) for cost, value in points], METRICS[group[0][0].metric].higher_is_better
        )
        if len({point[0] for point in points}) > 1:
            seen |= {group[index][0].path for index in places}
    return seen


def _cost_cells(cost: Cost | None, run: Run) -> dict[str, Cell]:
    if cost is None:
        return {"step": missing_cell("the run has no such step")}
    cells = {
        "step": Cell(f"{cost.step:,.0f}", cost.step),
        "tokens": Cell(short(cost.tokens), cost.tokens, tip=f"{cost.tokens:,.0f}"),
        "flops": missing_cell("counted only for causal models: an encoder-decoder reads other tokens than it predicts"),
        "hours": Cell(_hours(cost.hours), cost.hours, {"timing": run.summary["timing"]}),
    }
    if cost.flops is not None:
        cells["flops"] = Cell(scientific(cost.flops), cost.flops)
    if cost.money is not None:
        cells["money"] = Cell(_hours(cost.money), cost.money)
    return cells


def _hours(value: float) -> str:
    """Two decimals, more where they would read as nothing."""
    return decimal(value, 2 if value >= 1 else 4)


def _score_cells(evaluation: Evaluation, fronts: set[Path], plotted: str) -> dict[str, Cell]:
    group, scores = evaluation.raw["evaluation"], evaluation.scores
    cells = {}
    for name in TABLE_SCORES[evaluation.metric]:
        if name not in scores:
            cells[f"{group}:{name}"] = missing_cell(evaluation.reason_for(name))
            continue
        on_front = evaluation.path in fronts and name == plotted
        remark, tip = ("front", f"no cheaper model is as good; {describe(evaluation)}") if on_front else ("", "")
        more = {"n": evaluation.raw["n"], "front": on_front}
        cells[f"{group}:{name}"] = score_cell(
            name, scores[name], tip=tip or describe(evaluation), remark=remark, **more
        )
    return cells


def _notes(prices: Prices | None) -> list[str]:
    notes = [
        "Cost is that of training up to the step; pretraining and the other members of a search are not included. "
        f"FLOPs are {FLOPS}, N all parameters, as the MFU counts them, for causal models. Device hours are elapsed "
        "time, validation and saving included, x processes; where other jobs ran on the machine they say little.",
        "“front”: of the models at the ends of their schedules none that cost as little or less is as good, by FLOPs "
        "(by device hours where FLOPs are not counted) and by the plotted score; within their intervals the order may "
        "differ. A model from the middle of a decay is not what a run of its cost gives.",
        "± is one standard error, [a, b] a 95 % interval. Hover over a value for protocol, number of items and "
        "settings.",
        "Only one score of each evaluation is listed here, the plotted one; the CSV has all of them.",
    ]
    return [*notes, f"{prices.currency} for {describe_prices(prices)}."] if prices else notes


def describe_pareto_front(evidence: Evidence) -> list[str]:
    """Which configurations have the lowest validation loss for their cost, for each dataset and tokenizer of several.

    It is said of what is at the end of its schedule, where that is two or more that cost different FLOPs.
    """
    sentences = []
    for chart in loss_charts(evidence.study, evidence.runs, None):
        ends = [line for line in chart.lines if line.points[-1].is_end]
        costs = [(line.points[-1].cost.flops or 0.0, line.points[-1].score.value) for line in ends]
        if len({flops for flops, _ in costs}) < 2 or not all(flops for flops, _ in costs):
            continue
        front = pareto_front(costs, chart.high)
        best = [
            f"{ends[place].label} ({scientific(costs[place][0])} FLOPs, {decimal(costs[place][1])})" for place in front
        ]
        what = "configurations" if any(len(line.runs) > 1 for line in ends) else "runs"
        of = f"of {len(ends)} {what} at the ends of their schedules"
        listed = join_words(best) if len(best) <= MOST_LISTED else f"{len(best)} of them, from {best[0]} to {best[-1]}"
        text = f"Lowest loss for its cost on {chart.title}, {of}: {listed}"
        pairs = len(ends) * (len(ends) - 1) // 2
        steps = _describe_steps([ends[place] for place in front], pairs)
        sentences.append(f"{text}{'; ' if steps else ''}{steps}.")
    return sentences


def _describe_steps(front: Sequence[Line], pairs: int) -> str:
    """Whether each of a front is better than the cheaper one before it, corrected for so many pairs to choose from."""
    values, noise, untested = [], [], []
    for cheaper, dearer in pairwise(front):
        test = _compare_ends(dearer, cheaper)
        if isinstance(test, str):
            untested.append(f"{dearer.label} against {cheaper.label} is not tested ({test})")
            continue
        values.append(min(1.0, pairs * test.p))
        if values[-1] >= SIGNIFICANT:
            noise.append(f"{dearer.label} is within noise of {cheaper.label} ({describe_p_value(values[-1])})")
    corrected = f"by validation rows, corrected for {plural(pairs, 'pair')}"
    if noise:
        return join_words([f"{join_words(noise)} {corrected}", *untested])
    if untested or not values:
        return join_words(untested)
    each = "each is better than the one before" if len(values) > 1 else "the dearer is better"
    return f"{each}, {describe_p_value(max(values))} {corrected}"


def _compare_ends(first: Line, second: Line) -> PairedTest | RecipeTest | str:
    """The test of the last validation losses: over seeds and rows, or of single runs row by row."""
    seeds = [len(line.runs) for line in (first, second)]
    if min(seeds) > 1:
        return compare_validation_of_recipes(first.runs, second.runs, "last")
    if max(seeds) > 1:
        return "one of them has a single seed"
    return compare_validation(first.run, second.run, validation="last")
