"""Loss curves: training and validation, by step, by tokens or by time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trainyard.config.study import Study
from trainyard.report.render import style
from trainyard.report.render.format import decimal, tick, truncate
from trainyard.report.results.published import published_losses
from trainyard.report.results.runs import COORDINATES, Run, distinguishing_coordinates, label, read_runs

Along = Literal["step", "tokens", "time"]
Points = list[tuple[float, float]]
FEW = 8
LONGEST = 26
TALL = 3.55  # inches of a dataset's row
KEYS = {"step": "step", "tokens": "tokens", "time": "elapsed_seconds"}
PANELS = (("loss", "Training loss", "training_loss"), ("validation_loss", "Validation loss", "validation_loss"))


def draw(study: Study, *, runs: Sequence[Path], axis: Along, output: Path) -> None:
    """Draw training and validation loss of every run, a row of panels for each dataset and tokenizer.

    Losses on different datasets or in different tokens don't compare, so they share no
    axis. Up to eight runs a row have a colour and a label each; more are coloured by the
    coordinate that says most. Training loss is smoothed over a fiftieth of the run,
    with the raw values faint behind it where runs are few. Published losses are
    dashed lines.

    Args:
        study: gives the published losses.
        runs: folders with spec.json, summary.json and metrics.jsonl.
        axis: what runs along the bottom.
        output: the SVG.
    """
    drawn_runs = [run for run in read_runs(runs) if run.metrics]
    if not drawn_runs:
        style.draw_empty(output, "No run of this study has a loss curve.")
        return
    by_place: dict[tuple[str, str], list[Run]] = {}
    for run in drawn_runs:
        by_place.setdefault((run.coordinates["dataset"], run.tokenizer), []).append(run)
    groups = list(by_place.values())
    few = max(len(group) for group in groups) <= FEW
    coordinate = None if few else pick_coordinate(drawn_runs)
    labels = [_labels(group, coordinate) for group in groups]
    margin = 0.0068 * max(len(truncate(text, LONGEST)) for texts in labels for text in texts) + (0.1 if few else 0.085)
    known = [run.name for run in drawn_runs] if few else [text for texts in labels for text in texts]
    together = style.assign_colours(known)
    height = TALL * len(groups) + (0.0 if few else 0.25)
    with style.figure(output, height=height) as drawing:
        for index, ((dataset, tokenizer), texts) in enumerate(zip(by_place, labels, strict=True)):
            group = groups[index]
            keys = [run.name for run in group] if few else texts
            palette = style.assign_colours(keys) if few and len(drawn_runs) > FEW else together
            top = height - TALL * index
            drawing.text(0.012, (top - 0.12) / height, dataset, fontsize=13, fontweight="bold", va="top")
            drawing.text(
                1 - margin, (top - 0.15) / height, f"{tokenizer} tokens", ha="right", fontsize=9.5, color=style.FAINT,
                va="top",
            )  # fmt: skip
            row = _Row(group, texts, [palette[key] for key in keys], axis, *_unit(axis, group), raw=few)
            shown_panels = [panel for panel in PANELS if any(row.points(panel[0]))]
            width = (1 - margin - 0.06 * len(shown_panels)) / len(shown_panels)
            panels = []
            for column, (key, title, figure) in enumerate(shown_panels):
                bounds = (0.06 + column * (width + 0.06), (top - TALL + 0.6) / height, width, (TALL - 1.4) / height)
                axes = drawing.add_axes(bounds)
                _panel(axes, row, key, title, published_losses(study, figure, dataset, group, len(groups) == 1))
                panels.append(axes)
            if few:
                _direct(panels, row)
        if coordinate:
            handles = [
                Line2D([], [], color=tint, linewidth=2, label=truncate(text, LONGEST))
                for text, tint in together.items()
            ]
            kept = handles if len(handles) <= 16 else handles[:: math.ceil(len(handles) / 16)]
            drawing.legend(handles=kept, title=coordinate, loc="center left", bbox_to_anchor=(1 - margin + 0.005, 0.5))
            style.note(drawing, f"{len(drawn_runs)} runs")


@dataclass(frozen=True)
class _Row:
    """The runs of one dataset with their labels and colours, and what runs along the bottom."""

    runs: Sequence[Run]
    labels: Sequence[str]
    tints: Sequence[str]
    axis: Along
    unit: str
    scale: float
    raw: bool

    def points(self, key: str, smoothed: bool = True) -> list[Points]:
        """Each run's curve; empty where it has none."""
        most_points = max(40, min(300, 12_000 // len(self.runs)))
        return [_points(run, key, self.axis, self.scale, smoothed, most_points) for run in self.runs]


def smooth(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and up to `window` - 1 values before it."""
    total, result = 0.0, []
    for index, value in enumerate(values):
        total += value
        if index >= window:
            total -= values[index - window]
        result.append(total / min(index + 1, window))
    return result


def pick_coordinate(runs: Sequence[Run]) -> str:
    """The coordinate to colour many runs by: the one with most values that the palette can hold."""
    counts = {name: len({run.coordinates[name] for run in runs}) for name in COORDINATES if name != "seed"}
    fitting = {name: count for name, count in counts.items() if 1 < count <= len(style.PALETTE)}
    return max(fitting or counts, key=(fitting or counts).__getitem__)


def _unit(axis: Along, runs: Sequence[Run]) -> tuple[str, float]:
    if axis == "step":
        return "optimizer step", 1.0
    if axis == "tokens":
        return "predicted tokens", 1.0
    longest = max((run.metrics[-1]["elapsed_seconds"] or 0.0) for run in runs)
    return next((unit, scale) for limit, unit, scale in _TIMES if longest >= limit)


_TIMES = ((7200.0, "hours", 3600.0), (180.0, "minutes", 60.0), (0.0, "seconds", 1.0))


def _points(run: Run, key: str, axis: Along, scale: float, smoothed: bool = True, limit: int = 300) -> Points:
    """Finite points of a curve, at most some hundreds, the last one always among them."""
    points = [
        (row[KEYS[axis]] / scale, row[key])
        for row in run.metrics
        if row.get(key) is not None and math.isfinite(row[key])
    ]
    if key == "loss" and smoothed:
        means = smooth([loss for _, loss in points], max(1, len(points) // 50))
        points = [(x, mean) for (x, _), mean in zip(points, means, strict=True)]
    stride = max(1, math.ceil(len(points) / limit))
    return points[:-1:stride] + points[-1:]


def _labels(runs: Sequence[Run], coordinate: str | None) -> list[str]:
    names = distinguishing_coordinates(runs)
    return [run.coordinates[coordinate] if coordinate else label(run, names) for run in runs]


def _panel(axes: Axes, row: _Row, key: str, title: str, published: Sequence[tuple[float, str]]) -> None:
    curves = row.points(key)
    raw = row.points(key, smoothed=False) if key == "loss" and row.raw else []
    for points, tint in zip(raw, row.tints, strict=False):
        if points:
            axes.plot(*zip(*points, strict=True), color=tint, linewidth=0.7, alpha=0.22)
    _curves(axes, curves, row.tints, marked=key != "loss")
    axes.set_title(title, fontsize=11, fontweight="normal", pad=8)
    axes.set_xlabel(row.unit, fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=row.axis == "step"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.set_xlim(left=0)
    finished = [points for run, points in zip(row.runs, curves, strict=True) if run.finished and points]
    visible = finished or [points for points in curves if points]
    low, high, cut = axis_limits([[loss for _, loss in points] for points in visible], fall=key == "loss")
    for points in raw:
        low = min([low, *(loss for x, loss in points if x > points[-1][0] / 10)])
    low, high = min([low, *(value for value, _ in published)]), max([high, *(value for value, _ in published)])
    room = 0.06 * (high - low) or 0.1
    axes.set_ylim(low - room, high + room)
    if cut:
        remark = f"the initial drop is cut off: it starts at {decimal(cut, 1)}"
        axes.text(
            0.985, 0.965, remark, transform=axes.transAxes, ha="right", va="top", fontsize=9, color=style.FAINT
        )  # fmt: skip
    _baselines(axes, published)
    _failures(axes, row.runs, curves, row.tints)


def axis_limits(curves: Sequence[Sequence[float]], fall: bool) -> tuple[float, float, float | None]:
    """The losses that a panel shows: the lowest, the highest, and where the curves start if their first fall is cut.

    What comes after the first tenth of each run is always shown (of more than eight runs,
    of all but the highest tenth), with half as much room above it. The first fall is
    cut only where it would take more than half of the panel.

    Args:
        curves: the losses of each run in order, none of them empty.
        fall: whether the first fall may be cut at all.
    """
    low = min(min(losses) for losses in curves)
    tops = sorted(max(losses) for losses in curves)
    late = sorted(max(losses[min(len(losses) // 10, len(losses) - 1) :]) for losses in curves)
    last = len(curves) - 1 - (len(curves) // 10 if len(curves) > FEW else 0)
    high = low + 1.5 * (late[last] - low)
    if fall and tops[last] - low > 2 * (high - low) > 0:
        return low, high, tops[-1]
    return low, tops[last], None


def _curves(axes: Axes, curves: Sequence[Points], tints: Sequence[str], marked: bool) -> None:
    few = len(curves) <= FEW
    for points, tint in zip(curves, tints, strict=True):
        if not points:
            continue
        x, y = zip(*points, strict=True)
        dots = "o" if len(points) == 1 or (marked and few and len(points) <= 30) else None
        axes.plot(
            x, y, color=tint, linewidth=1.8 if few else 0.9, alpha=1.0 if few else 0.55, marker=dots, markersize=3.5
        )


def _baselines(axes: Axes, published: Sequence[tuple[float, str]]) -> None:
    for value, name in published:
        axes.axhline(value, color=style.FAINT, linewidth=1.2, linestyle=(0, (5, 4)))
        axes.annotate(
            f"{truncate(name, 24)}, published {decimal(value, 2)}",
            (0.015, value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="left",
            fontsize=9,
            color=style.FAINT,
        )


def _failures(axes: Axes, runs: Sequence[Run], curves: Sequence[Points], tints: Sequence[str]) -> None:
    """A cross where a run stopped before its end."""
    for run, points, tint in zip(runs, curves, tints, strict=True):
        if run.finished or not points:
            continue
        low, high = axes.get_ylim()
        x, y = points[-1]
        axes.plot([x], [min(max(y, low), high)], marker="X", markersize=8, color=tint, clip_on=False, linestyle="none")


def _direct(panels: Sequence[Axes], row: _Row) -> None:
    """Label each line at its end, right of the last panel; a run that was never validated right of the first."""
    last = len(panels) > 1
    ends = []
    for run, text, tint, points, fallback in zip(
        row.runs, row.labels, row.tints, row.points("validation_loss"), row.points("loss"), strict=True
    ):
        end = points or ([] if last else fallback)
        if end:
            value = decimal(end[-1][1], 3)
            ends.append(
                (end[-1][1], f"{truncate(text, LONGEST)}  {value if run.finished else run.summary['outcome']}", tint)
            )
        elif fallback:
            panels[0].annotate(
                f"{truncate(text, LONGEST)}: {run.summary['outcome']}",
                (fallback[-1][0], min(fallback[-1][1], panels[0].get_ylim()[1])),
                xytext=(7, 0),
                textcoords="offset points",
                color=tint,
                fontsize=9,
                va="center",
                annotation_clip=False,
            )
    style.label_ends(panels[-1], ends)
