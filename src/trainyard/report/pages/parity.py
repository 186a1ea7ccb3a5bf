"""How far each parallel setting deviates from the reference, step by step."""

import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from trainyard.config.study import Study
from trainyard.report.pages.cells import SAME, outcome_cell, verdict_cell
from trainyard.report.pages.seeded_faults import SEEDED, SEEDED_IN
from trainyard.report.render import style
from trainyard.report.render.format import MINUS, decimal, join_words, percent, plural, scientific
from trainyard.report.render.html import Cell, Column, Row, Table, missing_cell, write_table
from trainyard.report.results.probes import is_bit_equal, probe_label, read_comparisons

LOWEST = 1e-3  # of the smallest tolerance: smaller differences are drawn there
NARROW, WIDE = 25, 34  # characters of a label: of panels side by side, and of one that has the width to itself
LINE = 0.185  # inches of height that a line of a label takes


@dataclass(frozen=True)
class _Group:
    """Probes whose largest difference is the same number: each one's path there, step by step, and their names."""

    paths: list[list[float]]
    text: str
    colour: str

    @property
    def end(self) -> float:
        return self.paths[0][-1]


def draw(study: Study, *, parity: Sequence[Path], output: Path) -> None:
    """Draw the largest difference in loss from the reference up to each compared step, with the tolerance.

    A panel for each model, dataset, precision and reference, two a row. Probes that stray alike
    share a colour and a label; exact zeros are at the foot.

    Args:
        study: whose probes they are.
        parity: the probes' parity.json.
        output: the SVG.
    """
    probes = [probe for probe in read_comparisons(parity) if probe["by_step"]]
    if not probes:
        style.draw_empty(output, f"No probe of “{study.title}” has been compared with the reference.")
        return
    panels: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for probe in probes:
        panels.setdefault((_place(probe), _compared(probe)), []).append(probe)
    places = list(dict.fromkeys(row_name for row_name, _ in panels))
    precisions = {precision for _, precision in panels}
    names = list(dict.fromkeys(probe["parallel"] for probe in probes))
    # neighbours in the catalogue get different colours, and a setting the same one in every panel
    palette = {name: style.PALETTE[index % len(style.PALETTE)] for index, name in enumerate(names)}
    columns = min(2, len(precisions))
    width = WIDE if columns == 1 else NARROW
    rows: list[list[tuple[str, str]]] = []
    for row_name in places:
        keys = [key for key in panels if key[0] == row_name]
        rows += [keys[index : index + columns] for index in range(0, len(keys), columns)]
    groups = {key: _groups(probes_here, width, palette) for key, probes_here in panels.items()}
    inches = [max(2.4, LINE * max(_height(groups[key]) for key in row) + 0.1) for row in rows]
    height = sum(inches) + 1.15 * len(rows) + 0.3
    gap = 0.0068 * width + 0.03
    span = (1 - 0.075) / columns
    with style.figure(output, height=height) as drawing:
        top = height
        for row, tall in zip(rows, inches, strict=True):
            top -= tall + 0.5
            for index, key in enumerate(row):
                wide = span - gap - 0.045 * (index + 1 < columns)
                axes = drawing.add_axes((0.075 + index * span, top / height, wide, tall / height))
                row_name, precision = key
                axes.set_title(
                    f"{precision}: {row_name}" if len(places) > 1 else f"{precision}: |loss {MINUS} reference|"
                )
                _panel(axes, panels[key], groups[key])
            top -= 0.65
        style.note(drawing, f"the largest |loss {MINUS} reference| up to each step that is compared, in nats per token")


def _compared(probe: dict[str, Any]) -> str:
    """The precision, with the reference's where it is not fp32."""
    if probe["against"] == "fp32":
        return probe["precision"]
    return f"{probe['precision']} against {probe['against']}"


def _place(probe: dict[str, Any]) -> str:
    return f"{probe['model']} on {probe['dataset']}"


def _groups(probes: Sequence[dict[str, Any]], width: int, palette: dict[str, str]) -> list[_Group]:
    alike: dict[tuple[float, int], list[dict[str, Any]]] = {}
    for probe in probes:
        alike.setdefault((probe["largest"], probe["compared_steps"]), []).append(probe)
    groups = []
    for (largest, steps), members in alike.items():
        paths = [list(itertools.accumulate(probe["by_step"][:steps], max)) for probe in members]
        names = ", ".join(probe_label(probe, probes) for probe in members)
        text = names if largest else f"{SAME}: {names}"
        filled = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
        groups.append(_Group(paths, filled, palette[members[0]["parallel"]] if largest else style.INK))
    return groups


def _height(groups: Sequence[_Group]) -> int:
    return sum(group.text.count("\n") + 1 for group in groups)


def _panel(axes: Axes, probes: Sequence[dict[str, Any]], groups: Sequence[_Group]) -> None:
    allowed = {(probe["tolerance"], probe["compared_steps"]) for probe in probes}
    lowest = LOWEST * min(tolerance for tolerance, _ in allowed)
    foot = lowest / 6
    steps = max(compared for _, compared in allowed)
    top = 5 * max(*(group.end for group in groups), *(tolerance for tolerance, _ in allowed))
    axes.set_yscale("log")
    axes.set_ylim(foot / 2, top)
    axes.set_xlim(0, steps)

    def height(difference: float) -> float:
        return max(difference, lowest) if difference else foot

    for group in groups:
        for path in group.paths:
            axes.plot(range(1, len(path) + 1), [height(value) for value in path], color=group.colour, linewidth=1.6)
        compared, end = len(group.paths[0]), height(group.end)
        if compared < steps:
            axes.plot(compared, end, ".", color=group.colour, markersize=7)
            axes.plot([compared, steps], [end, end], ":", color=group.colour, linewidth=1.1, alpha=0.8)
    for tolerance, compared in sorted(allowed):
        axes.plot([0, compared], [tolerance, tolerance], color=style.INK, linewidth=1.2, linestyle=(0, (5, 4)))
        text = f"tolerance {scientific(tolerance)}" + (f", first {compared} steps" if compared < steps else "")
        behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        axes.annotate(text, (0, tolerance), xytext=(4, 5), textcoords="offset points", fontsize=9, bbox=behind)
    first, last = math.ceil(math.log10(lowest) - 1e-9), math.floor(math.log10(top))
    decades = range(first, last + 1, math.ceil((last - first + 1) / 8))
    axes.yaxis.set_major_locator(FixedLocator([foot, *(10.0**exponent for exponent in decades)]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value < lowest / 2 else scientific(value)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("optimizer step")
    style.label_ends(axes, [(height(group.end), group.text, group.colour) for group in groups])


def tabulate(study: Study, *, parity: Sequence[Path], table: Path, numbers: Path) -> None:
    """Write the verdict on each parallel setting as HTML and CSV.

    Args:
        study: gives the title.
        parity: the probes' parity.json.
        table: the HTML page.
        numbers: the CSV.
    """
    probes = read_comparisons(parity)
    failed = any(probe["reason"] for probe in probes)
    columns = [
        Column("parallel", "parallel setting", text=True),
        Column("model", "model", text=True),
        Column("dataset", "dataset", text=True),
        Column("precision", "precision", text=True),
        Column("against", "reference's precision", text=True),
        Column("processes", "processes"),
        Column("outcome", "outcome", text=True),
        Column("steps", "run", "steps"),
        Column("compared_steps", "compared", "steps"),
        Column("largest", "largest", "difference in loss"),
        Column("mean", "mean", "difference in loss"),
        Column("tolerance", "tolerance", "difference in loss"),
        Column("norm", "largest", "difference of the gradient norm, %"),
        Column("norm_tolerance", "tolerance", "difference of the gradient norm, %"),
        Column("verdict", "verdict", text=True),
        Column("reason", "why there is no result", text=True, shown=failed),
    ]
    notes = [
        "Each setting is compared with one process in fp32 that accumulates the same micro-batches in rank order, "
        "without dropout, on batches whose ranks hold unequal numbers of predicted tokens; in bf16 and fp16 also with "
        "one process in that precision."
    ]
    notes += tolerance_notes(probes)
    notes += [
        note for precision in dict.fromkeys(probe["precision"] for probe in probes) for note in _limits(precision)
    ]
    page = Table(
        "Parity with the reference",
        columns,
        [_row(probe) for probe in probes],
        notes,
        empty="This study has no probes.",
    )
    write_table(page, study.title, table, numbers)


def tolerance_notes(probes: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence for each tolerance: in which precision, over which steps, for which settings, and why."""
    named: dict[tuple[Any, ...], list[str]] = {}
    for probe in probes:
        steps = probe["compared_steps"]
        over = "" if steps is None or steps == probe["steps"] else f" over the first {plural(steps, 'step')}"
        key = (_compared(probe), probe["tolerance"], probe["tolerance_reason"])
        named.setdefault(key, []).append(over)
    return [
        f"The tolerance of {scientific(tolerance)} in {precision}{max(over)}: {why}."
        for (precision, tolerance, why), over in sorted(named.items(), key=str)
    ]


def _limits(precision: str) -> list[str]:
    """What a probe in a precision finds of the faults that were seeded, and what it doesn't."""
    seeded = SEEDED.get(precision)
    if seeded is None:
        return []
    found = [title for title, fault in seeded.items() if fault["found"]]
    missed = [title for title, fault in seeded.items() if not fault["found"]]
    smallest = min((seeded[title] for title in found), key=lambda fault: fault["largest"])
    effect = f"{scientific(smallest['largest'])} in the loss"
    if smallest["norm"] is not None:
        effect += f" and {percent(smallest['norm'], None)} in the gradient norm"
    return [
        f"Faults seeded in {SEEDED_IN} in {precision} (make faults): found are {join_words(found)}; the smallest of "
        f"them moves 20 steps by {effect}. " + (f"Not found: {join_words(missed)}." if missed else "All are found.")
    ]


def _row(probe: dict[str, Any]) -> Row:
    words = ("parallel", "model", "dataset", "precision", "against")
    cells = {key: Cell(probe[key], probe[key]) for key in words}
    cells["parallel"] = Cell(probe["parallel"], probe["parallel"], {"probe": probe["probe"]}, tip=probe["probe"])
    cells |= {key: Cell(str(probe[key]), probe[key]) for key in ("processes", "steps")}
    compared = probe["compared_steps"]
    cells["compared_steps"] = missing_cell(probe["reason"] or "") if compared is None else Cell(str(compared), compared)
    cells["outcome"] = outcome_cell(probe["outcome"], probe["reason"])
    for key in ("largest", "mean", "tolerance"):
        value = probe[key]
        cells[key] = missing_cell(probe["reason"] or "") if value is None else Cell(scientific(value), value)
    for key in ("norm", "norm_tolerance"):
        value = probe[key]
        cells[key] = missing_cell("") if value is None else Cell(decimal(100 * value, 2), value)
    badge = verdict_cell(probe)
    text = "no result" if probe["within"] is None else "within tolerance" if probe["within"] else "outside tolerance"
    cells["verdict"] = Cell(SAME if is_bit_equal(probe) else text, text, tip=badge.tip, kind=badge.kind)
    reason = probe["reason"] or probe["tolerance_reason"]
    cells["reason"] = Cell(reason if probe["reason"] else "", reason, kind="prose")
    return Row(cells)
