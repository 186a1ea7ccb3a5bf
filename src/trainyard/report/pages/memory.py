"""Device and host memory over steps, with the phases of settings that have them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trainyard.config.study import Study
from trainyard.report.render import style
from trainyard.report.render.format import tick, truncate
from trainyard.report.results.measurements import (
    binary_unit,
    cell_label,
    read_cells,
    select_comparable,
    varying_coordinates,
)
from trainyard.report.results.runs import read_runs

KINDS = {"device": style.PALETTE[0], "host": style.PALETTE[1]}
BAND = "#eef2f7"  # behind every other phase
COLUMNS = 3
TALL, PITCH = 1.2, 1.85  # inches of height of a panel, and from one to the next
MOST = 30


@dataclass(frozen=True)
class _Panel:
    """What one panel shows: rows of step, host, device and phase; panels of one group have the same height."""

    title: str
    rows: Sequence[Mapping[str, Any]]
    group: str


def draw(study: Study, *, runs: Sequence[Path], cells: Sequence[Path], output: Path) -> None:
    """Draw the memory of a process over steps, a panel for each parallel setting.

    A setting is shown as it was measured: of each model, number of processes, precision and
    sequence length at the batch at which most settings finished. One that was not measured
    is shown by its longest run or probe.

    Args:
        study: whose runs they are.
        runs: folders of runs and probes.
        cells: measure/*.json.
        output: the SVG.
    """
    panels = [*_measured(cells)]
    settings = {panel.rows[0]["parallel"] for panel in panels}
    panels += [panel for panel in _trained(runs) if panel.rows[0]["parallel"] not in settings]
    if not panels:
        style.draw_empty(output, f"No run of “{study.title}” recorded its memory by step.")
        return
    selected = panels[:MOST]
    scale, unit = binary_unit(max(_values(panel)) for panel in selected)
    tops = {panel.group: 0.0 for panel in selected}
    for panel in selected:
        tops[panel.group] = max(tops[panel.group], *(value / scale for value in _values(panel)))
    columns = min(COLUMNS, len(selected))
    lines = -(-len(selected) // columns)
    height = PITCH * lines + 0.75
    with style.figure(output, height=height) as drawing:
        span = (1 - 0.06) / columns
        for index, panel in enumerate(selected):
            line, column = divmod(index, columns)
            bottom = height - 0.45 - PITCH * (line + 1) + 0.45
            axes = drawing.add_axes((0.06 + column * span, bottom / height, span - 0.05, TALL / height))
            _draw(axes, panel, scale, tops[panel.group])
            if column == 0:
                axes.set_ylabel(unit, fontsize=10)
        handles = [
            Line2D([], [], color=colour, linewidth=2, label=f"{kind} memory")
            for kind, colour in KINDS.items()
            if any(row[kind] is not None for panel in selected for row in panel.rows)
        ]
        drawing.legend(handles=handles, loc="upper left", ncols=2, bbox_to_anchor=(0, 1))
        remark = "" if len(panels) <= MOST else f"; the first {MOST} of {len(panels)}"
        style.note(drawing, f"of one process, by optimizer step{remark}")


def _measured(paths: Sequence[Path]) -> Iterator[_Panel]:
    cells = [cell for cell in select_comparable(read_cells(paths)) if cell["memory_by_step"]]
    names = ["parallel", *(name for name in varying_coordinates(cells) if name != "parallel")]
    for cell in sorted(cells, key=lambda cell: cell["model"]):
        rows = [{**row, "parallel": cell["parallel"]} for row in cell["memory_by_step"]]
        yield _Panel(
            cell_label(cell, ["parallel", *(name for name in names if name != "parallel")]), rows, cell["model"]
        )


def _trained(folders: Sequence[Path]) -> Iterator[_Panel]:
    """The longest run of each parallel setting."""
    runs = [run for run in read_runs(folders) if run.coordinates["parallel"] != "reference"]
    runs.sort(key=lambda run: run.coordinates["parallel"])
    for parallel, same in groupby(runs, key=lambda run: run.coordinates["parallel"]):
        run = max(same, key=lambda run: run.summary["steps"])
        rows = [
            {
                "parallel": parallel,
                "step": row["step"],
                "host": row["host_memory"],
                "device": row["device_memory"],
                "phase": row.get("phase"),
            }
            for row in run.metrics
        ]
        if rows:
            model = run.coordinates["model"]
            yield _Panel(f"{parallel} \N{MIDDLE DOT} {run.specification['kind']} of {model}", rows, f"run of {model}")


def _values(panel: _Panel) -> list[float]:
    return [row[kind] or 0.0 for row in panel.rows for kind in KINDS]


def _draw(axes: Axes, panel: _Panel, scale: int, top: float) -> None:
    steps = [row["step"] for row in panel.rows]
    for kind, colour in KINDS.items():
        if any(row[kind] is not None for row in panel.rows):
            values = [float("nan") if row[kind] is None else row[kind] / scale for row in panel.rows]
            axes.plot(steps, values, color=colour, linewidth=1.8, marker="o" if len(steps) < 3 else None)
    for index, (phase, rows) in enumerate(groupby(panel.rows, key=lambda row: row["phase"])):
        span = [row["step"] for row in rows]
        if phase is None:
            continue
        if index % 2 == 0:
            axes.axvspan(span[0] - 0.5, span[-1] + 0.5, color=BAND, zorder=0)
        axes.text(span[0] - 0.3, 1.3 * top, phase, fontsize=9, color=style.FAINT, va="top")
    axes.set(xlim=(steps[0] - 0.5, steps[-1] + 0.5), ylim=(0, 1.35 * top))
    axes.set_title(truncate(panel.title, 40), fontsize=10, pad=6)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.tick_params(labelsize=9)
