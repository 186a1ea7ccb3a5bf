"""How far each parallel setting strays from the reference, step by step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from trainyard.config.study import Study
from trainyard.report import style
from trainyard.report.cells import SAME, outcome_cell, probe_label, same_bits, verdict
from trainyard.report.format import clip, counted, listed, probed, scientific
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
    equal = [probe for probe in probes if same_bits(probe)]
    drawn = [probe for probe in probes if not same_bits(probe)]
    remarks = [_remark(precision, equal, probes) for precision in dict.fromkeys(probe["precision"] for probe in equal)]
    foot = 0.42 * len(remarks)
    if not drawn:
        with style.figure(output, height=0.75 + foot) as drawing:
            _write(drawing, remarks, 0.3)
        return
    precisions = list(dict.fromkeys(probe["precision"] for probe in drawn))
    labels = [probe_label(probe, probes) for probe in drawn]
    palette = style.colours(labels)
    longest = max(len(clip(text, 26)) for text in labels)
    gap = 0.0068 * longest + 0.045
    width = (1 - 0.075 - gap) if len(precisions) == 1 else (1 - 0.075 - gap * len(precisions)) / len(precisions) - 0.04
    height = 4.6 + foot
    with style.figure(output, height=height) as drawing:
        for index, precision in enumerate(precisions):
            left = 0.075 + index * (width + gap + 0.06)
            axes = drawing.add_axes((left, (0.64 + foot) / height, width, 3.36 / height))
            chosen = [
                (probe, text) for probe, text in zip(drawn, labels, strict=True) if probe["precision"] == precision
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
        _write(drawing, remarks, 0.12)


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
        Column("steps", "steps"),
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
    reasons = {(probe["precision"], probe["tolerance"], probe["tolerance_reason"]) for probe in probes}
    notes += [
        f"The tolerance of {scientific(tolerance)} in {precision}: {why}."
        for precision, tolerance, why in sorted(reasons, key=str)
        if tolerance is not None
    ]
    shown = Table(
        "Parity with the reference",
        columns,
        [_row(probe) for probe in probes],
        notes,
        empty="This study has no probes.",
    )
    write_table(shown, study.title, table, numbers)


def _remark(precision: str, equal: Sequence[dict[str, Any]], probes: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Which settings have no difference to draw, in two lines."""
    same = [probe for probe in equal if probe["precision"] == precision]
    steps = counted(min(probe["steps"] for probe in same), "step")
    tolerance = scientific(min(probe["tolerance"] for probe in same))
    every = [probe["parallel"] for probe in probes if probe["precision"] == precision]
    many = f"{probed(every)} equal" if len(every) > 1 else "parallel setting equals"
    line = f"{precision}: {len(same)} of {len(every)} {many} the reference bit by bit over {steps}"
    return f"{line} (tolerance {tolerance})", clip(listed([probe_label(probe, probes) for probe in same]), 170)


def _write(drawing: Figure, remarks: Sequence[tuple[str, str]], bottom: float) -> None:
    height = drawing.get_figheight()
    for index, (line, names) in enumerate(reversed(remarks)):
        place = bottom + 0.42 * index
        drawing.text(0.02, (place + 0.21) / height, line, fontsize=10.5, fontweight="bold", va="bottom")
        drawing.text(0.02, place / height, names, fontsize=9.5, color=style.FAINT, va="bottom")


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
    cells["verdict"] = Cell(SAME if same_bits(probe) else text, text, tip=badge.tip, kind=badge.kind)
    reason = probe["reason"] or probe["tolerance_reason"]
    cells["reason"] = Cell(reason if probe["reason"] else "", reason, kind="prose")
    return Row(cells)
