"""Stacked horizontal bars, a panel for each model, number of processes, precision and sequence length."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trainyard.report.render import style
from trainyard.report.render.format import tick, truncate
from trainyard.report.results.measurements import (
    PLACE,
    MeasuredCell,
    cell_label,
    group_cells,
    shared_label,
    varying_coordinates,
)

MOST = 60
LINE = 0.27  # inches of height of one bar


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        parts: the length of each part, in the axis's unit; none where there is nothing to draw.
        text: what is after it.
        mark: a length to set beside the whole.
    """

    parts: Mapping[str, float]
    text: str
    mark: float | None = None


def draw(
    cells: Sequence[MeasuredCell],
    bar: Callable[[MeasuredCell], Bar],
    colours: Mapping[str, str],
    xlabel: str,
    output: Path,
    mark: str = "",
    remark: str = "",
) -> None:
    """Draw a bar for each cell.

    Args:
        cells: what is drawn, at most `MOST` of it.
        bar: makes the bar of a cell.
        colours: of each part, in the order in which parts are stacked.
        xlabel: below the axis of each panel.
        output: the SVG.
        mark: what the bars' marks are, for the legend.
        remark: what is at the foot.
    """
    selected = cells[:MOST]
    places = list(group_cells(selected).values())
    distinguishing = varying_coordinates(selected, PLACE)
    own = [name for name in varying_coordinates(selected) if name not in PLACE]
    labels = [truncate(cell_label(cell, own), 40) for cell in selected]
    margin = 0.0072 * max(len(text) for text in labels) + 0.015
    above = 0.5 if distinguishing else 0.2  # inches for a panel's title
    height = sum(LINE * len(index) + above + 0.7 for index in places) + 0.55
    with style.figure(output, height=height) as drawing:
        handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
        legend = drawing.legend(handles=handles, loc="upper left", ncols=len(handles), bbox_to_anchor=(0, 1))
        if mark:
            drawing.text(0.985, 1 - 0.2 / height, f"\N{BLACK DIAMOND} {mark}", ha="right", va="center", fontsize=10)
        legend.set_in_layout(False)
        top = height - 0.35
        for index in places:
            tall = LINE * len(index)
            top -= tall + above
            axes = drawing.add_axes((margin, top / height, 0.985 - margin, tall / height))
            _panel(axes, [bar(cell) for cell in index], colours)
            axes.set_yticks(range(len(index)), [truncate(cell_label(cell, own), 40) for cell in index])
            axes.set_title(cell_label(index[0], distinguishing) if distinguishing else "")
            axes.set_xlabel(xlabel)
            top -= 0.7
        more = f"the first {MOST} of {len(cells)}" if len(cells) > MOST else ""
        style.note(drawing, "; ".join(part for part in (shared_label(selected), remark, more) if part))


def _panel(axes: Axes, bars: Sequence[Bar], colours: Mapping[str, str]) -> None:
    top = max((max(sum(bar.parts.values()), bar.mark or 0.0) for bar in bars), default=0.0) or 1.0
    for line, bar in enumerate(bars):
        left = 0.0
        for name, colour in colours.items():
            part = bar.parts.get(name, 0.0)
            axes.barh(line, part, left=left, color=colour, height=0.7, zorder=2, edgecolor="white", linewidth=0.5)
            left += part
        if bar.mark is not None:
            axes.plot(bar.mark, line, "D", color=style.INK, markersize=5, zorder=3, markeredgecolor="white")
        axes.text(
            max(left, bar.mark or 0.0) + 0.012 * top,
            line,
            bar.text,
            va="center",
            fontsize=9,
            color=style.INK if bar.parts else style.FAINT,
            style="normal" if bar.parts else "italic",
        )
    axes.set(xlim=(0, 1.3 * top), ylim=(len(bars) - 0.4, -0.6))
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
