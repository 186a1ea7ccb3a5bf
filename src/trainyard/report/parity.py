"""How far each parallel setting strays from the reference, step by step."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from trainyard.config.study import Study
from trainyard.report import style
from trainyard.report.cells import SAME, outcome_cell, probe_label, same_bits, verdict
from trainyard.report.format import counted, scientific
from trainyard.report.html import Cell, Column, Row, Table, missing, write_table
from trainyard.report.results import read_all

LOWEST = 1e-3  # of the smallest tolerance: smaller differences are drawn there
NARROW, WIDE = 25, 34  # characters of a label: of panels side by side, and of one that has the width to itself
LINE = 0.185  # inches of height that a line of a label takes


@dataclass(frozen=True)
class _Line:
    """Probes whose differences are the same numbers."""

    probes: list[dict[str, Any]]
    text: str

    @property
    def values(self) -> list[float]:
        return self.probes[0]["by_step"]

    @property
    def compared(self) -> int:
        return max(probe["compared_steps"] for probe in self.probes)


def draw(study: Study, *, parity: Sequence[Path], output: Path) -> None:
    """Draw each probe's difference in loss from the reference by step, with the tolerance over the compared steps.

    A column of panels for each precision, a row for each model and dataset; probes whose
    differences are the same numbers share a line. Exact zeros stand at the foot.

    Args:
        study: whose probes they are.
        parity: the probes' parity.json.
        output: the SVG.
    """
    probes = [probe for probe in read_all(parity) if probe["by_step"]]
    if not probes:
        style.empty(output, f"No probe of “{study.title}” has been compared with the reference.")
        return
    precisions = list(dict.fromkeys(probe["precision"] for probe in probes))
    places = list(dict.fromkeys(_place(probe) for probe in probes))
    width = WIDE if len(precisions) == 1 else NARROW
    panels = {
        (place, precision): _lines(
            [probe for probe in probes if (_place(probe), probe["precision"]) == (place, precision)], width
        )
        for place in places
        for precision in precisions
    }
    palette = style.colours([line.text for lines in panels.values() for line in lines if any(line.values)])
    inches = [
        max(2.4, LINE * max(_height(panels[place, precision]) for precision in precisions) + 0.1) for place in places
    ]
    height = sum(inches) + 1.15 * len(places) + 0.1
    gap = 0.0068 * width + 0.03
    span = (1 - 0.075) / len(precisions)
    with style.figure(output, height=height) as drawing:
        top = height
        for place, tall in zip(places, inches, strict=True):
            top -= tall + 0.5
            for index, precision in enumerate(precisions):
                lines = panels[place, precision]
                if not lines:
                    continue
                box = (0.075 + index * span, top / height, span - gap - 0.045 * (index + 1 < len(precisions)), tall / height)
                title = f"{precision}: |loss {chr(0x2212)} reference|"
                axes = drawing.add_axes(box)
                axes.set_title(title if len(places) == 1 else f"{title}, {place}")
                _panel(axes, lines, palette)
            top -= 0.65


def _place(probe: dict[str, Any]) -> str:
    return f"{probe['model']} on {probe['dataset']}"


def _lines(probes: Sequence[dict[str, Any]], width: int) -> list[_Line]:
    """Probes of one panel, those with the same differences together, each with its label in lines of `width`."""
    groups: dict[tuple[float, ...], list[dict[str, Any]]] = {}
    for probe in probes:
        groups.setdefault(tuple(probe["by_step"]), []).append(probe)
    lines = []
    for group in groups.values():
        names = ", ".join(probe_label(probe, probes) for probe in group)
        if same_bits(group[0]):
            names = f"{SAME}: {names}"
        lines.append(_Line(group, textwrap.fill(names, width, break_long_words=False, break_on_hyphens=False)))
    return lines


def _height(lines: Sequence[_Line]) -> int:
    return sum(line.text.count("\n") + 1 for line in lines)


def _panel(axes: Axes, lines: Sequence[_Line], palette: dict[str, str]) -> None:
    allowed = {(probe["tolerance"], probe["compared_steps"]) for line in lines for probe in line.probes}
    lowest = LOWEST * min(tolerance for tolerance, _ in allowed)
    foot = lowest / 6
    steps = max(len(line.values) for line in lines)
    top = 5 * max(max(max(line.values) for line in lines), *(tolerance for tolerance, _ in allowed))
    axes.set_yscale("log")
    axes.set_ylim(foot / 2, top)
    axes.set_xlim(0, steps)
    ends = []
    for line in lines:
        values = [max(value, lowest) if value else foot for value in line.values]
        colour = palette.get(line.text, style.INK)
        at = range(1, len(values) + 1)
        axes.plot(at[: line.compared], values[: line.compared], color=colour, linewidth=1.5, clip_on=False)
        # from the last compared step on
        axes.plot(at[line.compared - 1 :], values[line.compared - 1 :], color=colour, linewidth=0.9, alpha=0.4)
        ends.append((values[-1], line.text, colour))
    for tolerance, compared in sorted(allowed):
        axes.plot([0, compared], [tolerance, tolerance], color=style.INK, linewidth=1.2, linestyle=(0, (5, 4)))
        text = f"tolerance {scientific(tolerance)}" + (f", first {compared} steps" if compared < steps else "")
        axes.annotate(text, (0, tolerance), xytext=(4, 4), textcoords="offset points", fontsize=9)
    first, last = math.ceil(math.log10(lowest) - 1e-9), math.floor(math.log10(top))
    decades = range(first, last + 1, math.ceil((last - first + 1) / 8))
    axes.yaxis.set_major_locator(FixedLocator([foot, *(10.0**exponent for exponent in decades)]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value < lowest / 2 else scientific(value)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("optimizer step")
    style.label_ends(axes, ends)


def tabulate(study: Study, *, parity: Sequence[Path], table: Path, numbers: Path) -> None:
    """Write the verdict on each parallel setting as HTML and CSV.

    Args:
        study: gives the title.
        parity: the probes' parity.json.
        table: the HTML page.
        numbers: the CSV.
    """
    probes = read_all(parity)
    failed = any(probe["reason"] for probe in probes)
    columns = [
        Column("parallel", "parallel setting", text=True),
        Column("model", "model", text=True),
        Column("dataset", "dataset", text=True),
        Column("precision", "precision", text=True),
        Column("processes", "processes"),
        Column("outcome", "outcome", text=True),
        Column("steps", "run", "steps"),
        Column("compared_steps", "compared", "steps"),
        Column("largest", "largest", "difference in loss"),
        Column("mean", "mean", "difference in loss"),
        Column("tolerance", "tolerance", "difference in loss"),
        Column("verdict", "verdict", text=True),
        Column("reason", "why there is no result", text=True, shown=failed),
    ]
    notes = [
        "Each setting is compared with one process in fp32 that accumulates the same micro-batches in rank order, "
        "without dropout, on batches whose ranks hold unequal numbers of predicted tokens."
    ]
    notes += tolerance_notes(probes)
    shown = Table(
        "Parity with the reference",
        columns,
        [_row(probe) for probe in probes],
        notes,
        empty="This study has no probes.",
    )
    write_table(shown, study.title, table, numbers)


def tolerance_notes(probes: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence for each tolerance: in which precision, over which steps, for which settings, and why."""
    named: dict[tuple[Any, ...], list[str]] = {}
    for probe in probes:
        steps = probe["compared_steps"]
        over = "" if steps is None or steps == probe["steps"] else f" over the first {counted(steps, 'step')}"
        key = (probe["precision"], probe["tolerance"], probe["tolerance_reason"])
        named.setdefault(key, []).append(over)
    return [
        f"The tolerance of {scientific(tolerance)} in {precision}{max(over)}: {why}."
        for (precision, tolerance, why), over in sorted(named.items(), key=str)
    ]


def _row(probe: dict[str, Any]) -> Row:
    words = ("parallel", "model", "dataset", "precision")
    cells = {key: Cell(probe[key], probe[key]) for key in words}
    cells["parallel"] = Cell(probe["parallel"], probe["parallel"], {"probe": probe["probe"]}, tip=probe["probe"])
    cells |= {key: Cell(str(probe[key]), probe[key]) for key in ("processes", "steps")}
    compared = probe["compared_steps"]
    cells["compared_steps"] = missing(probe["reason"] or "") if compared is None else Cell(str(compared), compared)
    cells["outcome"] = outcome_cell(probe["outcome"], probe["reason"])
    for key in ("largest", "mean", "tolerance"):
        value = probe[key]
        cells[key] = missing(probe["reason"] or "") if value is None else Cell(scientific(value), value)
    badge = verdict(probe)
    text = "no result" if probe["within"] is None else "within tolerance" if probe["within"] else "outside tolerance"
    cells["verdict"] = Cell(SAME if same_bits(probe) else text, text, tip=badge.tip, kind=badge.kind)
    reason = probe["reason"] or probe["tolerance_reason"]
    cells["reason"] = Cell(reason if probe["reason"] else "", reason, kind="prose")
    return Row(cells)
