"""Heat maps of speed and memory: parallel settings by batch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from trainyard.report.render import style
from trainyard.report.render.format import join_words, short, size, truncate
from trainyard.report.results.measurements import (
    PLACE,
    MeasuredCell,
    cell_label,
    group_cells,
    memory_title,
    shared_label,
    varying_coordinates,
)
from trainyard.report.statistics.speeds import rank_cells

MOST = 12
LINE = 0.27  # inches of height of one parallel setting
ROOMY = 0.9  # inches of width that the words "out of memory" need
MAPS = (
    ("tokens_per_second", "Tokens per second", "Blues", short),
    ("peak_memory_increase", "", "Oranges", size),
)


def draw(cells: Sequence[MeasuredCell], output: Path) -> None:
    """Draw tokens per second and peak memory of each parallel setting at each batch.

    A pair of maps for each model, number of processes, precision and sequence length. The speeds of each batch that
    can't be told from its fastest are bold. What ran out of memory is marked; settings that nothing was measured of
    are named below.

    Args:
        cells: the measured cells.
        output: the SVG.
    """
    places = list(group_cells(cells).values())[:MOST]
    tables = [_by_setting(subset) for subset in places]
    names = [name for table in tables for name in table]
    margin = 0.0072 * max((len(truncate(name, 30)) for name in names), default=0) + 0.015
    width = min((0.985 - margin - 0.03) / 2, 0.1 * max(len(_batches(subset)) for subset in places))
    distinguishing = varying_coordinates(cells, PLACE)
    fastest = {id(cell) for ranking in rank_cells(cells) for cell in ranking.cells[: ranking.tied or 0]}
    height = sum(LINE * max(1, len(table)) + 1.35 for table in tables) + 0.15
    with style.figure(output, height=height) as drawing:
        top = height
        for subset, table in zip(places, tables, strict=True):
            tall = LINE * max(1, len(table))
            top -= tall + 0.65
            for index, (key, title, colours, words) in enumerate(MAPS):
                axes = drawing.add_axes((margin + index * (width + 0.03), top / height, width, tall / height))
                _map(axes, table, _batches(subset), key, colours, words, set() if index else fastest)
                axes.set_title(title or memory_title(subset), fontsize=11)
                axes.set_yticks(range(len(table)), [truncate(name, 30) for name in table] if index == 0 else [])
            title = cell_label(subset[0], distinguishing) if distinguishing else ""
            drawing.text(0.008, (top + tall + 0.42) / height, title, fontsize=12, fontweight="bold")
            drawing.text(0.008, (top - 0.58) / height, _remark(subset, table), fontsize=9, color=style.FAINT)
            top -= 0.7
        several = len(group_cells(cells))
        more = f"the first {MOST} of {several}; all are in the table" if several > MOST else ""
        style.note(drawing, "; ".join(part for part in (shared_label(cells), more) if part))


def _by_setting(cells: Sequence[MeasuredCell]) -> dict[str, dict[int, MeasuredCell]]:
    """Cells by parallel setting and batch; a setting that never began says nothing here."""
    table: dict[str, dict[int, MeasuredCell]] = {}
    for cell in cells:
        table.setdefault(cell["parallel"], {})[cell["batch"]] = cell
    return {name: row for name, row in table.items() if any(cell["outcome"] != "unsupported" for cell in row.values())}


def _batches(cells: Sequence[MeasuredCell]) -> list[int]:
    return sorted({cell["batch"] for cell in cells})


def _remark(cells: Sequence[MeasuredCell], table: dict[str, dict[int, MeasuredCell]]) -> str:
    left = list(dict.fromkeys(cell["parallel"] for cell in cells if cell["parallel"] not in table))
    return f"unsupported here (why: in the table): {truncate(join_words(left), 130)}" if left else ""


def _map(
    axes: Axes,
    table: dict[str, dict[int, MeasuredCell]],
    batches: Sequence[int],
    key: str,
    colours: str,
    words: Callable[[float], str],
    bold: set[int],
) -> None:
    known = [cell[key] for row in table.values() for cell in row.values() if cell[key] is not None]
    top = max(known, default=1.0)
    scale = mpl.colormaps[colours]
    roomy = axes.get_window_extent().width / axes.figure.dpi > ROOMY * len(batches)
    for line, row in enumerate(table.values()):
        for column, batch in enumerate(batches):
            if batch not in row:
                continue
            value = row[batch][key]
            if value is None:
                outcome = row[batch]["outcome"]
                text = ("out of memory" if roomy else "OOM") if outcome == "out-of-memory" else outcome
                _square(axes, column, line, text, "#f3f4f6", style.FAINT, hatch="////")
            else:
                # from zero, so that half the colour is half the value
                part = 0.75 * value / top
                ink = "white" if part > 0.55 else style.INK
                _square(axes, column, line, words(value), scale(part), ink, bold=id(row[batch]) in bold)
    axes.grid(False)
    axes.set(xlim=(-0.5, len(batches) - 0.5), ylim=(max(1, len(table)) - 0.5, -0.5), xlabel="batch per process")
    axes.set_xticks(range(len(batches)), [str(batch) for batch in batches])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _square(
    axes: Axes, column: int, line: int, text: str, colour: Any, ink: str, hatch: str | None = None, bold: bool = False
) -> None:
    edge = "#d1d5db" if hatch else "white"
    width = 0 if hatch else 1.5
    corner = (column - 0.5, line - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor=edge, linewidth=width, hatch=hatch))
    behind = {"facecolor": colour, "edgecolor": "none", "pad": 1} if hatch else None
    axes.text(
        column,
        line,
        text,
        ha="center",
        va="center",
        fontsize=9,
        color=ink,
        style="italic" if hatch else "normal",
        fontweight="bold" if bold else "normal",
        bbox=behind,
    )
