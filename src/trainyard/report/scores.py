"""Every evaluation at a glance: each model's score with its 95 % interval, beside the baselines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trainyard.config.study import Study
from trainyard.report import style
from trainyard.report.format import PERCENT, TITLES, clip, score, tick
from trainyard.report.results import CHANCE, Evaluation, Score, model_labels, read_evaluations, read_runs

PANELS = {
    "perplexity": ("perplexity_word", "perplexity_byte"),
    "hellaswag": ("acc", "acc_norm"),
    "rouge": ("rouge1", "rouge2", "rougeL", "rougeLsum"),
}
MOST = 24
ACROSS = 2


@dataclass(frozen=True)
class Panel:
    """One metric of one evaluation: models from best to worst, then baselines."""

    metric: str
    items: str
    name: str
    scores: list[tuple[str, Score]]
    baselines: list[tuple[str, Score]]
    left_out: int


def draw(study: Study, *, runs: Sequence[Path], evaluations: Sequence[Path], output: Path) -> None:
    """Draw a panel for each metric of each evaluation: points with 95 % intervals, baselines as dashed lines.

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
        style.empty(output, f"No model of “{study.title}” has a score.")
        return
    known = read_runs(runs)
    panels = [panel for group in groups.values() for panel in _panels(group, model_labels(known, group))]
    models = list(dict.fromkeys(name for panel in panels for name, _ in panel.scores))
    palette = style.colours(models)
    # rows of panels, each as high as its fullest panel needs
    rows = [panels[start : start + ACROSS] for start in range(0, len(panels), ACROSS)]
    heights = [1.1 + 0.3 * max(len(panel.scores) for panel in row) for row in rows]
    height = sum(heights) + 0.45 * len(rows)
    longest = max(len(clip(name, 34)) for name in models)
    margin = min(0.3, 0.0074 * longest + 0.025)
    with style.figure(output, height=height) as drawing:
        top = height
        for row, tall in zip(rows, heights, strict=True):
            for column, panel in enumerate(row):
                width = 1 / ACROSS - margin - 0.02
                place = (column / ACROSS + margin, (top - tall + 0.05) / height, width, (tall - 0.7) / height)
                _draw_panel(drawing.add_axes(place), panel, palette)
            top -= tall + 0.45


def _panels(group: Sequence[Evaluation], labels: Sequence[str]) -> list[Panel]:
    found = []
    first = group[0]
    for name in PANELS[first.metric]:
        scores = [(title, each.scores[name]) for each, title in zip(group, labels, strict=True) if name in each.scores]
        if not scores:
            continue
        scores.sort(key=lambda item: item[1].value, reverse=first.metric != "perplexity")
        baselines = [(title, values[name]) for title, values in first.baselines.items() if name in values]
        if first.metric == "hellaswag":
            baselines.append(("chance", Score(CHANCE)))
        found.append(Panel(TITLES[name], first.title, name, scores[:MOST], baselines, len(scores) - MOST))
    return found


def _draw_panel(axes: Axes, panel: Panel, palette: dict[str, str]) -> None:
    scale = 100 if panel.name in PERCENT else 1
    for index, (name, value) in enumerate(panel.scores):
        low, high = value.interval
        axes.plot([scale * low, scale * high], [index, index], color=palette[name], linewidth=2, solid_capstyle="round")
        axes.plot(scale * value.value, index, "o", color=palette[name], markersize=7)
        axes.annotate(
            score(panel.name, value.value),
            (scale * high, index),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    for name, value in panel.baselines:
        axes.axvline(scale * value.value, color=style.FAINT, linewidth=1.2, linestyle=(0, (5, 4)))
        axes.annotate(
            clip(name, 20),
            (scale * value.value, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            fontsize=9,
            color=style.FAINT,
        )
    ends = [scale * end for _, value in panel.scores for end in value.interval]
    ends += [scale * value.value for _, value in panel.baselines]
    room = 0.12 * (max(ends) - min(ends)) or 0.05 * abs(max(ends)) or 1.0
    axes.set_xlim(min(ends) - room, max(ends) + 1.6 * room)
    axes.set_ylim(len(panel.scores) - 0.4, -0.9)
    axes.set_yticks(range(len(panel.scores)), [clip(name, 34) for name, _ in panel.scores])
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.set_title(panel.metric, pad=22)
    axes.annotate(
        clip(panel.items, 60),
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 7),
        textcoords="offset points",
        fontsize=9.5,
        color=style.FAINT,
    )
    if panel.left_out > 0:
        axes.set_xlabel(f"best {len(panel.scores)} of {len(panel.scores) + panel.left_out}", fontsize=9)
