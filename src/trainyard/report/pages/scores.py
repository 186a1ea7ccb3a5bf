"""Every evaluation at a glance: each model's score with its 95 % interval, beside the baselines."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trainyard.config.study import Study
from trainyard.core.statistics import Score
from trainyard.metrics import METRICS
from trainyard.report.render import style
from trainyard.report.render.format import BOUNDED, HEADINGS, PERCENT, score, tick, truncate
from trainyard.report.results.runs import Evaluation, model_labels, read_evaluations, read_runs
from trainyard.report.statistics.seeds import Configuration, compute_spread, group_configurations

MOST = 24
FRAME = 1.5  # inches of a row beside its points: heading, titles and axis
GAP = 0.035


@dataclass(frozen=True)
class Mark:
    """A model with its 95 % interval, or a configuration with the mean and the standard deviation of its seeds."""

    name: str
    score: Score
    seeds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One metric of one evaluation: models and configurations from best to worst, then baselines."""

    metric: str
    items: str
    name: str
    scores: list[Mark]
    baselines: list[tuple[str, Score]]
    left_out: int


def draw(study: Study, *, runs: Sequence[Path], evaluations: Sequence[Path], output: Path) -> None:
    """Draw a panel for each metric of each evaluation: points with 95 % intervals, baselines as dashed lines.

    Runs that differ only in their seed are one mark: their mean, a bar of one standard deviation, a dot for each.

    Args:
        study: whose evaluations they are.
        runs: folders with spec.json and summary.json, for the labels.
        evaluations: evaluation files of runs and of pretrained models.
        output: the SVG.
    """
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in read_evaluations(evaluations):
        if evaluation.scores:
            groups.setdefault(evaluation.raw["evaluation"], []).append(evaluation)
    if not groups:
        style.draw_empty(output, f"No model of “{study.title}” has a score.")
        return
    known = read_runs(runs)
    repeats = group_configurations(known)
    rows = [_merge_equal(_panels(group, model_labels(known, group), repeats)) for group in groups.values()]
    models = list(dict.fromkeys(mark.name for row in rows for panel in row for mark in panel.scores))
    palette = style.assign_colours(models)
    # a row for each evaluation, as high as its fullest panel needs
    heights = [0.3 * max(len(panel.scores) for panel in row) + FRAME for row in rows]
    height = sum(heights)
    margin = min(0.3, 0.0074 * max(len(truncate(name, 34)) for name in models) + 0.025)
    across = max(2, *(len(row) for row in rows))
    width = (1 - margin - 0.02) / across - GAP
    with style.figure(output, height=height) as drawing:
        top = height
        for row, tall in zip(rows, heights, strict=True):
            drawing.text(
                0.012, (top - 0.12) / height, truncate(row[0].items, 100), fontsize=12, fontweight="bold", va="top"
            )
            order = [mark.name for mark in row[0].scores]
            for column, panel in enumerate(row):
                left = margin + column * (width + GAP)
                axes = drawing.add_axes((left, (top - tall + 0.55) / height, width, (tall - FRAME + 0.25) / height))
                _draw_panel(axes, panel, palette, order, named=column == 0)
            top -= tall
        if any(mark.seeds for row in rows for panel in row for mark in panel.scores):
            style.note(drawing, "Diamonds: mean over seeds, bar of one standard deviation. Other bars: 95 % intervals.")


def _merge_equal(panels: Sequence[Panel]) -> list[Panel]:
    """One panel for metrics that agree in every number, as ROUGE-L and ROUGE-Lsum do on summaries of one line."""
    results: list[Panel] = []
    for panel in panels:
        same = next(
            (each for each in results if (each.scores, each.baselines) == (panel.scores, panel.baselines)), None
        )
        if same is None:
            results.append(panel)
        else:
            results[results.index(same)] = replace(same, metric=f"{same.metric.removesuffix(', %')} and {panel.metric}")
    return results


def _panels(group: Sequence[Evaluation], labels: Sequence[str], repeats: Sequence[Configuration]) -> list[Panel]:
    results = []
    first = group[0]
    metric = METRICS[first.metric]
    for name in dict.fromkeys((*metric.tested, *(metric.instead or ()))):
        scored = [(each, title) for each, title in zip(group, labels, strict=True) if name in each.scores]
        marks = _marks(scored, name, repeats)
        if not marks:
            continue
        marks.sort(key=lambda mark: mark.score.value, reverse=metric.higher_is_better)
        baselines = [(title, values[name]) for title, values in first.baselines.items() if name in values]
        if metric.chance is not None:
            baselines.append(("chance", Score(metric.chance)))
        results.append(Panel(HEADINGS[name], first.title, name, marks[:MOST], baselines, len(marks) - MOST))
    return results


def _marks(group: Sequence[tuple[Evaluation, str]], name: str, repeats: Sequence[Configuration]) -> list[Mark]:
    """A mark for each model, but one for those that differ only in their seed."""
    owners = {run.name: configuration.label for configuration in repeats for run in configuration.runs}
    several = len({each.checkpoint for each, _ in group if each.run in owners}) > 1
    together: dict[tuple[str, str], list[Score]] = {}
    for each, title in group:
        at = f" ({each.checkpoint})" if several else ""
        owner = owners.get(each.run)
        key = (f"{owner}{at}, over seeds", "") if owner else (title, each.run)
        together.setdefault(key, []).append(each.scores[name])
    marks = []
    for (title, _), members in together.items():
        values = tuple(value.value for value in members)
        if over := compute_spread(values):
            ends = (over.mean - over.deviation, over.mean + over.deviation) if over.deviation else ()
            marks.append(Mark(title, Score(over.mean, over.deviation or None, *ends), values))
        else:
            marks.append(Mark(title, members[0]))
    return marks


def _draw_panel(axes: Axes, panel: Panel, palette: dict[str, str], order: list[str], named: bool) -> None:
    scale = 100 if panel.name in PERCENT else 1
    for mark in panel.scores:
        height, colour, value = order.index(mark.name), palette[mark.name], mark.score
        down, up = value.error_bar
        low, high = value.value - down, value.value + up
        axes.plot([scale * low, scale * high], [height, height], color=colour, linewidth=2, solid_capstyle="round")
        axes.plot(scale * value.value, height, "D" if mark.seeds else "o", color=colour, markersize=7)
        dots = [scale * each for each in mark.seeds]
        axes.plot(dots, [height + 0.22] * len(dots), ".", color=colour, markersize=5, alpha=0.6)
        axes.annotate(
            score(panel.name, value.value),
            (max([scale * high, scale * value.value, *dots]), height),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    for name, value in panel.baselines:
        axes.axvline(scale * value.value, color=style.FAINT, linewidth=1.2, linestyle=(0, (5, 4)))
        axes.annotate(
            truncate(name, 20),
            (scale * value.value, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            fontsize=9,
            color=style.FAINT,
        )
    ends = [
        scale * end for mark in panel.scores for end in (mark.score.value, *(mark.score.interval or ()), *mark.seeds)
    ]
    ends += [scale * value.value for _, value in panel.baselines]
    room = 0.14 * (max(ends) - min(ends)) or 0.05 * abs(max(ends)) or 1.0
    axes.set_xlim(min(ends) - room, max(ends) + 2.2 * room)
    axes.set_ylim(len(order) - 0.4, -0.9)
    axes.set_yticks(
        range(len(order)), [truncate(name, 34) for name in order] if named else [""] * len(order), fontsize=10
    )
    axes.grid(False, axis="y")
    ticks = MaxNLocator(4).tick_values(*axes.get_xlim())
    bounded = panel.name in BOUNDED
    low, high = axes.get_xlim()
    axes.set_xticks([value for value in ticks if low <= value <= high and not (bounded and not 0 <= value <= 100)])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.set_title(panel.metric, fontsize=10.5, fontweight="normal", pad=6)
    if panel.left_out > 0:
        axes.set_xlabel(f"best {len(panel.scores)} of {len(panel.scores) + panel.left_out}", fontsize=9)
