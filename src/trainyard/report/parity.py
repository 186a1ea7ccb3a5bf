"""How far each parallel setting strays from the reference, step by step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from trainyard.config.study import Study
from trainyard.report import style
from trainyard.report.comparison import outcome_cell, verdict
from trainyard.report.format import clip, scientific
from trainyard.report.html import Cell, Column, Row, Table, missing, write_table
from trainyard.report.results import read_all

LOWEST = 1e-3  # of the tolerance: what lies below is drawn at the foot of the panel


def draw(study: Study, *, parity: Sequence[Path], output: Path) -> None:
    """Draw each probe's difference in loss from the reference by step, with the tolerance, a panel for each precision.

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
    labels = [_label(probe, probes) for probe in probes]
    palette = style.colours(labels)
    longest = max(len(clip(text, 26)) for text in labels)
    gap = 0.0068 * longest + 0.045
    width = (1 - 0.075 - gap) if len(precisions) == 1 else (1 - 0.075 - gap * len(precisions)) / len(precisions) - 0.04
    with style.figure(output) as drawing:
        for index, precision in enumerate(precisions):
            left = 0.075 + index * (width + gap + 0.06)
            axes = drawing.add_axes((left, 0.14, width, 0.73))
            chosen = [
                (probe, text) for probe, text in zip(probes, labels, strict=True) if probe["precision"] == precision
            ]
            _panel(axes, chosen, palette)
            axes.set(title=f"{precision}: |loss {chr(0x2212)} reference|", xlabel="optimizer step")
            style.label_ends(
                axes,
                [
                    (probe["by_step"][-1] or LOWEST * probe["tolerance"], clip(text, 26), palette[text])
                    for probe, text in chosen
                ],
            )


def tabulate(study: Study, *, parity: Sequence[Path], table: Path, numbers: Path) -> None:
    """Write the verdict on each parallel setting as HTML and CSV.

    Args:
        study: gives the title.
        parity: the probes' parity.json.
        table: the HTML page.
        numbers: the CSV.
    """
    rows = [_row(probe) for probe in read_all(parity)]
    columns = [
        Column("parallel", "parallel setting", text=True),
        Column("model", "model", text=True),
        Column("dataset", "dataset", text=True),
        Column("precision", "precision", text=True),
        Column("processes", "processes"),
        Column("outcome", "outcome", text=True),
        Column("steps", "steps"),
        Column("largest", "largest", "difference in loss"),
        Column("mean", "mean", "difference in loss"),
        Column("tolerance", "tolerance", "difference in loss"),
        Column("verdict", "verdict", text=True),
        Column("reason", "why this tolerance, or no result", text=True),
    ]
    notes = [
        "Each setting is compared with one process in fp32 that accumulates the same micro-batches in rank order, "
        "without dropout, on batches whose ranks hold unequal numbers of predicted tokens."
    ]
    shown = Table("Parity with the reference", columns, rows, notes, empty="This study has no probes.")
    write_table(shown, study.title, table, numbers)


def _panel(axes: Axes, probes: Sequence[tuple[dict[str, Any], str]], palette: dict[str, str]) -> None:
    tolerances = {probe["tolerance"] for probe, _ in probes}
    lowest = LOWEST * min(tolerances)
    for probe, text in probes:
        values = [max(value, lowest) for value in probe["by_step"]]
        axes.plot(range(1, len(values) + 1), values, color=palette[text], linewidth=1.4, alpha=0.9)
    highest = max(max(probe["by_step"]) for probe, _ in probes)
    axes.set_yscale("log")
    axes.set_ylim(0.8 * lowest, 4 * max(highest, *tolerances))
    axes.set_xlim(left=0)
    for tolerance in sorted(tolerances):
        axes.axhline(tolerance, color=style.INK, linewidth=1.2, linestyle=(0, (5, 4)))
        axes.annotate(
            f"tolerance {scientific(tolerance)}",
            (0.015, tolerance),
            xycoords=("axes fraction", "data"),
            xytext=(0, 4),
            textcoords="offset points",
            fontsize=9,
        )
    axes.yaxis.set_major_locator(LogLocator(numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: scientific(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _label(probe: dict[str, Any], probes: Sequence[dict[str, Any]]) -> str:
    """The parallel setting, with model and dataset where probes differ in them."""
    parts = [probe["parallel"]]
    parts += [probe[key] for key in ("model", "dataset") if len({other[key] for other in probes}) > 1]
    return " · ".join(parts)


def _row(probe: dict[str, Any]) -> Row:
    words = ("parallel", "model", "dataset", "precision")
    cells = {key: Cell(probe[key], probe[key]) for key in words}
    cells["parallel"] = Cell(probe["parallel"], probe["parallel"], {"probe": probe["probe"]}, tip=probe["probe"])
    cells |= {key: Cell(str(probe[key]), probe[key]) for key in ("processes", "steps")}
    cells["outcome"] = outcome_cell(probe["outcome"], probe["reason"])
    for key in ("largest", "mean", "tolerance"):
        value = probe[key]
        cells[key] = missing(probe["reason"] or "") if value is None else Cell(scientific(value), value)
    badge = verdict(probe)
    text = "no result" if probe["within"] is None else "within tolerance" if probe["within"] else "outside tolerance"
    cells["verdict"] = Cell(text, text, tip=badge.tip, kind=badge.kind)
    reason = probe["reason"] or probe["tolerance_reason"]
    cells["reason"] = Cell(reason, reason, kind="prose")
    return Row(cells)
