"""Loss curves: training and validation, by step, by tokens or by time."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trainyard.config.study import Study
from trainyard.report import style
from trainyard.report.format import clip, fixed, tick
from trainyard.report.results import COORDINATES, Run, label, read_runs, telling

Along = Literal["step", "tokens", "time"]
Points = list[tuple[float, float]]
FEW = 8
LONGEST = 26
KEYS = {"step": "step", "tokens": "tokens", "time": "elapsed_seconds"}
PANELS = (("loss", "Training loss", "training_loss"), ("validation_loss", "Validation loss", "validation_loss"))


def draw(study: Study, *, runs: Sequence[Path], axis: Along, output: Path) -> None:
    """Draw training and validation loss of every run.

    Up to eight runs have a colour and a label each; more are coloured by the
    coordinate that says most. Training loss is smoothed over a fiftieth of the run,
    with the raw values faint behind it where runs are few. Published losses are
    dashed lines.

    Args:
        study: gives the published losses.
        runs: folders with spec.json, summary.json and metrics.jsonl.
        axis: what runs along the bottom.
        output: the SVG.
    """
    shown = [run for run in read_runs(runs) if run.metrics]
    if not shown:
        style.empty(output, "No run of this study has a loss curve.")
        return
    coordinate = None if len(shown) <= FEW else _telling(shown)
    names = telling(shown)
    labels = [label(run, names) if coordinate is None else run.coordinates[coordinate] for run in shown]
    palette = style.colours([run.name for run in shown] if coordinate is None else labels)
    tints = [palette[run.name] for run in shown] if coordinate is None else [palette[text] for text in labels]
    unit, scale = _unit(axis, shown)
    margin = 0.0068 * max(len(clip(text, LONGEST)) for text in labels) + 0.1
    most = max(40, min(300, 12_000 // len(shown)))
    chosen = [panel for panel in PANELS if any(_points(run, panel[0], axis, scale) for run in shown)]
    with style.figure(output) as drawing:
        panels = drawing.subplots(1, len(chosen), squeeze=False)[0]
        drawing.subplots_adjust(left=0.065, right=1 - margin, top=0.88, bottom=0.14, wspace=0.16)
        for axes, (key, title, figure) in zip(panels, chosen, strict=True):
            curves = [_points(run, key, axis, scale, most=most) for run in shown]
            _curves(axes, curves, tints, marked=key != "loss")
            if key == "loss" and coordinate is None:
                _raw(axes, shown, tints, axis, scale)
            axes.set(title=title, xlabel=unit)
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=axis == "step"))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
            _limits(axes, curves, _published(study, figure))
            _baselines(axes, study, figure)
            _failures(axes, shown, curves, tints)
        if coordinate is None:
            _direct(panels, shown, labels, tints, axis, scale)
        else:
            handles = [Line2D([], [], color=palette[text], linewidth=2, label=clip(text, LONGEST)) for text in palette]
            kept = handles if len(handles) <= 16 else handles[:: math.ceil(len(handles) / 16)]
            drawing.legend(handles=kept, title=coordinate, loc="center left", bbox_to_anchor=(1 - margin + 0.005, 0.5))
            style.note(drawing, f"{len(shown)} runs")


def smooth(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and up to `window` - 1 values before it."""
    total, result = 0.0, []
    for index, value in enumerate(values):
        total += value
        if index >= window:
            total -= values[index - window]
        result.append(total / min(index + 1, window))
    return result


def _telling(runs: Sequence[Run]) -> str:
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


def _points(run: Run, key: str, axis: Along, scale: float, smoothed: bool = True, most: int = 300) -> Points:
    """Finite points of a curve, at most some hundreds, the last one always among them."""
    points = [
        (row[KEYS[axis]] / scale, row[key])
        for row in run.metrics
        if row.get(key) is not None and math.isfinite(row[key])
    ]
    if key == "loss" and smoothed:
        means = smooth([loss for _, loss in points], max(1, len(points) // 50))
        points = [(x, mean) for (x, _), mean in zip(points, means, strict=True)]
    stride = max(1, math.ceil(len(points) / most))
    return points[:-1:stride] + points[-1:]


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


def _raw(axes: Axes, runs: Sequence[Run], tints: Sequence[str], axis: Along, scale: float) -> None:
    for run, tint in zip(runs, tints, strict=True):
        points = _points(run, "loss", axis, scale, smoothed=False)
        if points:
            axes.plot(*zip(*points, strict=True), color=tint, linewidth=0.7, alpha=0.22)


def _published(study: Study, figure: str) -> list[tuple[float, str]]:
    return [(entry.values[figure], entry.model) for entry in study.published if figure in entry.values]  # pyright: ignore[reportArgumentType]


def _limits(axes: Axes, curves: Sequence[Points], published: Sequence[tuple[float, str]]) -> None:
    """Leave out the first fall of the loss, which would press everything else flat, and any explosion."""
    kept = [points for points in curves if points]
    if not kept:
        return
    early = sorted(points[min(len(points) - 1, len(points) // 40)][1] for points in kept)
    top = early[len(early) // 2] if len(early) > FEW else early[-1]
    top = min(top, 3 * early[0])
    bottom = min(min(value for _, value in points) for points in kept)
    for value, _ in published:
        top, bottom = max(top, value), min(bottom, value)
    room = 0.06 * (top - bottom) or 0.1
    axes.set_ylim(bottom - room, top + room)
    axes.set_xlim(left=0)


def _baselines(axes: Axes, study: Study, figure: str) -> None:
    for value, name in _published(study, figure):
        axes.axhline(value, color=style.FAINT, linewidth=1.2, linestyle=(0, (5, 4)))
        axes.annotate(
            f"{clip(name, 24)}, published {fixed(value, 2)}",
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


def _direct(
    panels: Sequence[Axes], runs: Sequence[Run], labels: Sequence[str], tints: Sequence[str], axis: Along, scale: float
) -> None:
    """Label each line at its end, right of the last panel; a run that was never validated right of the first."""
    validated = [_points(run, "validation_loss", axis, scale) for run in runs]
    trained = [_points(run, "loss", axis, scale) for run in runs]
    last = len(panels) > 1
    ends = []
    for run, text, tint, points, fallback in zip(runs, labels, tints, validated, trained, strict=True):
        end = points or ([] if last else fallback)
        if end:
            value = fixed(end[-1][1], 3)
            ends.append(
                (end[-1][1], f"{clip(text, LONGEST)}  {value if run.finished else run.summary['outcome']}", tint)
            )
        elif fallback:
            panels[0].annotate(
                f"{clip(text, LONGEST)}: {run.summary['outcome']}",
                fallback[-1],
                xytext=(7, 0),
                textcoords="offset points",
                color=tint,
                fontsize=9,
                va="center",
                annotation_clip=False,
            )
    style.label_ends(panels[-1], ends)
