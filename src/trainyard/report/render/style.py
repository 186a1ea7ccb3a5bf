"""How every figure looks: one palette, one type size, one way to save."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from trainyard.core.files import atomic_file

INK = "#1f2937"
FAINT = "#6b7280"
GRID = "#e5e7eb"
PALETTE: tuple[str, ...] = tuple(
    sns.color_palette(["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7b4ea3", "#4d4d4d"]).as_hex()
)
_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.labelsize": 11,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9ca3af",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "trainyard",
    "figure.max_open_warning": 0,
}


@contextmanager
def figure(output: Path, width: float = 11.0, height: float = 4.6) -> Iterator[Figure]:
    """Give a figure in the report's style, and save it as SVG.

    The same drawing gives the same bytes: no date, no random ids. Text stays text.

    Args:
        output: where the SVG is written, whole or not at all.
        width: in inches; 11 fills the report's column.
        height: in inches.
    """
    with sns.axes_style("whitegrid"), mpl.rc_context(_SETTINGS):
        drawing = plt.figure(figsize=(width, height))
        try:
            yield drawing
            with atomic_file(output) as draft:
                drawing.savefig(draft, format="svg", metadata={"Date": None, "Creator": None})
        finally:
            plt.close(drawing)


def draw_empty(output: Path, text: str) -> None:
    """Write a figure that says why there is nothing to draw."""
    with figure(output, height=1.6) as drawing:
        drawing.text(0.5, 0.5, text, ha="center", va="center", color=FAINT, wrap=True)


def assign_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name: the palette while it lasts, then a scale from dark to light."""
    distinct = list(dict.fromkeys(names))
    if len(distinct) <= len(PALETTE):
        return dict(zip(distinct, PALETTE, strict=False))
    return dict(zip(distinct, sns.color_palette("viridis", len(distinct)).as_hex(), strict=True))


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write labels right of the axes at the heights of their lines' ends, pushed apart where they would touch.

    Args:
        axes: with final limits and scale.
        ends: (height in data units, text of one line or more, colour) of each line.
    """
    if not ends:
        return
    box = axes.get_position()
    drawing = axes.get_figure()
    assert drawing is not None
    inches = box.height * drawing.get_figheight()  # pyright: ignore[reportAttributeAccessIssue]
    gap = 0.185 / inches
    heights = [axes.transAxes.inverted().transform(axes.transData.transform((0, end[0])))[1] for end in ends]
    order = sorted(range(len(ends)), key=lambda index: (heights[index], index))
    places = [min(max(heights[index], 0.0), 1.0) for index in order]
    lines = [ends[index][1].count("\n") + 1 for index in order]
    # from the middle of each label to that of the next
    apart = [gap * (lower + upper) / 2 for lower, upper in itertools.pairwise(lines)]
    places[0] = max(places[0], gap * (lines[0] - 1) / 2)
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + apart[index - 1])
    highest = 1.0 - gap * (lines[-1] - 1) / 2
    if places[-1] > highest:
        places[-1] = highest
        for index in range(len(places) - 2, -1, -1):
            places[index] = min(places[index], places[index + 1] - apart[index])
    for height, index in zip(places, order, strict=True):
        _, text, colour = ends[index]
        true = min(max(heights[index], 0.0), 1.0)
        axes.plot(
            [1.005, 1.03],
            [true, height],
            transform=axes.transAxes,
            color=colour,
            linewidth=0.8,
            clip_on=False,
            alpha=0.7,
        )
        axes.text(
            1.037, height, text, transform=axes.transAxes, color=colour, va="center", fontsize=10, linespacing=1.15
        )


def label_points(axes: Axes, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Write a label beside each point, where it meets neither another label nor a point nor the frame.

    Args:
        axes: with final limits and scale.
        points: (x, y, text, colour) of each, x and y in data units.
    """
    places = [axes.transData.transform((x, y)) for x, y, _, _ in points]
    frame = axes.get_window_extent()
    scale = axes.figure.dpi / 72
    occupied = [Bbox.from_bounds(x - 5 * scale, y - 5 * scale, 10 * scale, 10 * scale) for x, y in places]
    for (x, y), (_, _, text, colour) in zip(places, points, strict=True):
        width, height = 5.6 * len(text) * scale, 12 * scale
        beside, above, below = 9 * scale, 8 * scale, -8 * scale - height
        corners = [
            (x + beside, y - height / 2), (x - beside - width, y - height / 2),
            (x - width / 2, y + above), (x - width / 2, y + below),
            (x + beside, y + above), (x + beside, y + below),
            (x - beside - width, y + above), (x - beside - width, y + below),
        ]  # fmt: skip
        boxes = [Bbox.from_bounds(left, bottom, width, height) for left, bottom in corners]
        inside = [box for box in boxes if frame.x0 <= box.x0 and box.x1 <= frame.x1] or boxes
        box = min(inside, key=lambda box: sum(box.overlaps(other) for other in occupied))
        occupied.append(box)
        # back in data units: the SVG has another resolution than the layout
        left, middle = axes.transData.inverted().transform((box.x0, (box.y0 + box.y1) / 2))
        axes.text(left, middle, text, va="center", fontsize=9, color=colour)


def note(drawing: Figure, text: str) -> None:
    """A small remark at the foot of a figure."""
    drawing.text(0.008, 0.012, text, fontsize=9, color=FAINT, va="bottom")
