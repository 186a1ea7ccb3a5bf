"""Quality of every evaluated model beside what it had cost: the lines of the charts of quality by step and by cost."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from trainyard.config.settings import Prices
from trainyard.config.study import Study
from trainyard.core.statistics import Score, all_equal
from trainyard.metrics import METRICS, PUBLISHED_SCORES, is_higher_better
from trainyard.report.render.format import HEADINGS, PERCENT
from trainyard.report.results.published import matches, published_losses
from trainyard.report.results.runs import Evaluation, Run, distinguishing_coordinates, label
from trainyard.report.results.shortcuts import ShortcutScores
from trainyard.report.statistics.cost import Cost, cost_at, ends_schedule, mean_cost, step_of
from trainyard.report.statistics.seeds import group_configurations

LOSS = "validation_loss"


def plotted_score(group: Sequence[Evaluation]) -> str:
    """The figure of an evaluation that is drawn; the table has them all."""
    metric = METRICS[group[0].metric]
    return metric.scores_of([metric.headline], [each.scores for each in group])[0]


@dataclass(frozen=True)
class Point:
    """A model's score, and what training it had cost by then.

    Attributes:
        cost: up to its step.
        score: its own, or a mean over seeds.
        is_end: whether it is at the end of its schedule, as `ends_schedule` has it.
    """

    cost: Cost
    score: Score
    is_end: bool


@dataclass(frozen=True)
class Line:
    """One run, or several seeds of one, in the order of steps.

    Attributes:
        name: of the run, or of its first seed.
        label: as few coordinates as tell it apart.
        runs: the run, or every seed.
        points: with means over seeds, whose interval is one standard deviation either way.
    """

    name: str
    label: str
    runs: list[Run]
    points: list[Point]

    @property
    def run(self) -> Run:
        """The run, or its first seed."""
        return self.runs[0]


@dataclass(frozen=True)
class Chart:
    """One figure of one evaluation, of every run that has it.

    Attributes:
        title: what was evaluated.
        unit: the figure's name.
        figure: its key: `acc_norm`, `perplexity_word`, `rougeL`, `validation_loss`.
        lines: the runs.
        levels: (text, value) of what costs nothing here: chance, baselines, published and pretrained models.
    """

    title: str
    unit: str
    figure: str
    lines: list[Line]
    levels: list[tuple[str, float]]

    @property
    def high(self) -> bool:
        """Whether more is better."""
        return self.figure != LOSS and is_higher_better(self.figure)

    @property
    def scale(self) -> float:
        """From a score to the unit of the axis: accuracies are drawn in percent."""
        return 100.0 if self.figure in PERCENT else 1.0


def score_charts(
    study: Study,
    runs: Sequence[Run],
    evaluations: Sequence[Evaluation],
    shortcuts: Sequence[ShortcutScores],
    prices: Prices | None,
) -> list[Chart]:
    """A chart for each evaluation, in the order of the files."""
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        if evaluation.scores:
            groups.setdefault(evaluation.raw["evaluation"], []).append(evaluation)
    known = {run.name: run for run in runs}
    charts = []
    for group in groups.values():
        figure = plotted_score(group)
        points: dict[str, dict[str, Point]] = {}
        for each in group:
            run = known.get(each.run)
            step = step_of(each, run) if run else None
            cost = cost_at(run, step, prices) if run and step else None
            if run and step and cost and figure in each.scores:  # a perplexity that a number can't hold is left out
                points.setdefault(each.run, {})[each.checkpoint] = Point(
                    cost, each.scores[figure], ends_schedule(run, step)
                )
        lines = _lines([known[name] for name in points], points)
        if lines:
            levels = [*_rivals(group[0], figure, shortcuts), *_others(study, group, figure, known)]
            charts.append(Chart(group[0].title, HEADINGS[figure], figure, lines, levels))
    return charts


def loss_charts(study: Study, runs: Sequence[Run], prices: Prices | None) -> list[Chart]:
    """A chart of validation loss for each dataset and tokenizer: losses of different ones don't compare."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.coordinates["dataset"], run.tokenizer), []).append(run)
    charts = []
    for (dataset, tokenizer), group in groups.items():
        points = {run.name: dict(_losses(run, prices)) for run in group}
        lines = _lines([run for run in group if points[run.name]], points)
        if lines:
            levels = [
                (f"{name}, published", value)
                for value, name in published_losses(study, LOSS, dataset, group, len(groups) == 1)
            ]
            title = f"{dataset} validation, {tokenizer} tokens"
            charts.append(Chart(title, HEADINGS[LOSS], LOSS, lines, levels))
    return charts


def _losses(run: Run, prices: Prices | None) -> Iterator[tuple[str, Point]]:
    for row in run.metrics:
        loss = row.get(LOSS)
        if loss is not None and math.isfinite(loss) and (cost := cost_at(run, row["step"], prices)):
            yield f"step-{row['step']}", Point(cost, Score(loss), ends_schedule(run, row["step"]))


def _lines(runs: Sequence[Run], points: Mapping[str, Mapping[str, Point]]) -> list[Line]:
    """A line for each run, or for the seeds of one together where there are several."""
    groups = {run.name: [run] for run in runs}
    for configuration in group_configurations(runs):
        first, *rest = configuration.runs
        groups[first.name] = configuration.runs
        for run in rest:
            del groups[run.name]
    names = distinguishing_coordinates([group[0] for group in groups.values()], without="seed")
    labels = [label(group[0], names) for group in groups.values()]
    lines = []
    for name, group in groups.items():
        point_lists = [points[run.name] for run in group]
        shared = [key for key in point_lists[0] if all(key in each for each in point_lists)]
        along = sorted(
            (_mean([each[key] for each in point_lists]) for key in shared), key=lambda point: point.cost.step
        )
        # the best model, or the last, may be that of a kept step
        distinct = {point.cost.step: point for point in along}
        text = label(group[0], names)
        if len(group) > 1:
            text += f", {len(group)} seeds"
        elif labels.count(text) > 1:  # such as one that failed
            text += f" \N{MIDDLE DOT} seed {group[0].coordinates['seed']}"
        lines.append(Line(name, text, group, list(distinct.values())))
    return [line for line in lines if line.points]


def _mean(points: Sequence[Point]) -> Point:
    if len(points) == 1:
        return points[0]
    values = [point.score.value for point in points]
    mean, deviation = fmean(values), stdev(values)
    ends = () if all_equal(values) else (mean - deviation, mean + deviation)
    return Point(
        mean_cost([point.cost for point in points]), Score(mean, None, *ends), all(point.is_end for point in points)
    )


def _rivals(evaluation: Evaluation, figure: str, shortcuts: Sequence[ShortcutScores]) -> Iterator[tuple[str, float]]:
    """Chance and the best shortcut on endings; the baselines of an evaluation on others."""
    chance = METRICS[evaluation.metric].chance
    if chance is not None:
        own = next(
            (each.raw for each in shortcuts if each.raw["dataset"] == evaluation.raw["dataset"]),
            None,
        )
        yield "chance", own["chance"]["value"] if own else chance
        if own and own["baselines"]:
            best = max(own["baselines"].values(), key=lambda baseline: baseline["accuracy"]["value"])
            yield f"shortcut: {best['title']}", best["accuracy"]["value"]
    for name, scores in evaluation.baselines.items():
        if figure in scores:
            yield name, scores[figure].value


def _others(
    study: Study, group: Sequence[Evaluation], figure: str, known: Mapping[str, Run]
) -> Iterator[tuple[str, float]]:
    """Models that were not trained here: evaluated as they are, and published by the same protocol."""
    for evaluation in group:
        if evaluation.run not in known and figure in evaluation.scores:
            yield f"{evaluation.run}, as is", evaluation.scores[figure].value
    for entry in study.published:
        for name, value in entry.values.items():
            if PUBLISHED_SCORES.get(name) == figure and matches(entry, group[0]):
                raw = value / 100 if figure in PERCENT and value > 1 else value
                yield f"{entry.model}, published", raw
