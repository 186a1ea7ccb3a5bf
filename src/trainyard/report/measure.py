"""Speed and memory of parallel settings that had the machine to themselves."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from trainyard.config.study import Study
from trainyard.report import style
from trainyard.report.cells import outcome_cell
from trainyard.report.format import clip, fixed, score, size, tick
from trainyard.report.html import Cell, Column, Row, Table, missing, write_table
from trainyard.report.results import read_all

COORDINATES = ("model", "parallel", "processes", "precision", "batch", "sequence_length")
WORDS = {"processes": "{} processes", "batch": "batch {}", "sequence_length": "sequence {}"}
MOST = 48


def draw(study: Study, *, cells: Sequence[Path], output: Path) -> None:
    """Draw tokens a second and peak memory of each cell as bars, coloured by parallel setting.

    Args:
        study: whose measurements they are.
        cells: measure/*.json.
        output: the SVG.
    """
    every = read_all(cells)
    if not every:
        style.empty(output, f"Nothing was measured in “{study.title}”.")
        return
    names = varying(every)
    shown = every[:MOST]
    palette = style.colours([cell["parallel"] for cell in shown])
    tints = [palette[cell["parallel"]] for cell in shown]
    labels = [clip(cell_label(cell, names), 40) for cell in shown]
    height = 1.55 + 0.27 * len(shown)
    margin = 0.0068 * max(len(text) for text in labels) + 0.02
    with style.figure(output, height=height) as drawing:
        panels = drawing.subplots(1, 2, sharey=True)
        drawing.subplots_adjust(left=margin, right=0.985, top=1 - 0.5 / height, bottom=0.9 / height, wspace=0.06)
        kind = " or ".join(sorted({cell["memory_kind"] for cell in shown if cell["memory_kind"]}))
        for axes, key, title, unit in (
            (panels[0], "tokens_per_second", "Tokens a second", "tokens/s, median"),
            (panels[1], "peak_memory", "Peak memory of a process", f"{kind} memory, largest over processes"),
        ):
            memory = key == "peak_memory"
            scale, prefix = _unit(shown) if memory else (1, "")
            values = [(cell[key] or 0.0) / scale for cell in shown]
            axes.barh(range(len(shown)), values, color=tints, height=0.7, zorder=2)
            top = max(values) or 1.0
            for index, (cell, value) in enumerate(zip(shown, values, strict=True)):
                known = cell[key] is not None
                axes.text(
                    value + 0.012 * top,
                    index,
                    (size(cell[key]) if memory else fixed(value, 0)) if known else cell["outcome"],
                    va="center",
                    fontsize=9,
                    color=style.INK if known else style.FAINT,
                    style="normal" if known else "italic",
                )
            axes.set(title=title, xlabel=prefix + unit, xlim=(0, 1.2 * top), ylim=(len(shown) - 0.4, -0.6))
            axes.grid(False, axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        panels[0].set_yticks(range(len(shown)), labels)
        alike = [name for name in COORDINATES if name not in names and name != "parallel"]
        remarks = [cell_label(every[0], alike)] if alike else []
        if len(every) > MOST:
            remarks.append(f"the first {MOST} of {len(every)}; all are in the table")
        style.note(drawing, "; ".join(remarks))


def tabulate(study: Study, *, cells: Sequence[Path], table: Path, numbers: Path) -> None:
    """Write speed and memory as HTML and CSV.

    Args:
        study: gives the title.
        cells: measure/*.json.
        table: the HTML page.
        numbers: the CSV.
    """
    every = read_all(cells)
    columns = [
        Column("model", "model", text=True),
        Column("parallel", "parallel setting", text=True),
        Column("processes", "processes"),
        Column("precision", "precision", text=True),
        Column("batch", "batch", "a process"),
        Column("sequence_length", "sequence", "a process"),
        Column("outcome", "outcome", text=True),
        Column("tokens_per_second", "tokens/s", "speed, all processes", "high"),
        Column("samples_per_second", "samples/s", "speed, all processes", "high"),
        Column("step_seconds", "step, s", "speed, all processes", tip="median [10th to 90th percentile]"),
        Column("peak_memory", "peak", "memory of a process", "low"),
        Column("peak_memory_increase", "increase", "memory of a process", "low", tip="over the idle process"),
        Column("mfu", "MFU %", tip="share of the peak: point at a value for formula and peak"),
        Column("device", "device", text=True),
    ]
    notes = [
        "Random tokens, warm-up steps left out, nothing else running. MFU is the model's arithmetic over the "
        "device's peak: the formula and the peak's source stand behind each value.",
        "Bold is the best among cells of the same model, batch and sequence length.",
    ]
    # what all cells share stands in a note, so that memory is in sight
    alike = [name for name in COORDINATES if name not in varying(every) and name != "parallel"] if every[1:] else []
    if alike:
        notes.insert(0, f"All cells: {cell_label(every[0], alike)}.")
    columns = [replace(column, shown=column.key not in alike) for column in columns]
    shown = Table("Speed and memory", columns, [_row(cell) for cell in every], notes, "Nothing was measured.")
    write_table(shown, study.title, table, numbers)


def varying(cells: Sequence[dict[str, Any]]) -> list[str]:
    """The coordinates that are not the same in all cells."""
    return [name for name in COORDINATES if len({cell[name] for cell in cells}) > 1]


def cell_label(cell: dict[str, Any], names: Sequence[str]) -> str:
    """A cell by those coordinates that tell it apart; by its parallel setting if none does."""
    return " · ".join(WORDS.get(name, "{}").format(cell[name]) for name in names or ["parallel"])


def _unit(cells: Sequence[dict[str, Any]]) -> tuple[int, str]:
    """The unit of memory that suits the largest cell."""
    largest = max(cell["peak_memory"] or 0 for cell in cells)
    return (2**30, "GiB of ") if largest >= 2**30 else (2**20, "MiB of ")


def _row(cell: dict[str, Any]) -> Row:
    shown = {name: Cell(str(cell[name]), cell[name]) for name in COORDINATES}
    shown["outcome"] = outcome_cell(cell["outcome"], cell["reason"])
    device = cell["device_name"] or ""
    shown["device"] = Cell(clip(device, 40), device, {"timing": cell["timing"]}, tip=device)
    rivals = f"{cell['model']}/{cell['batch']}/{cell['sequence_length']}"
    reason = cell["reason"] or ""
    for key in ("tokens_per_second", "samples_per_second"):
        value = cell[key]
        text = fixed(value, 0 if value and value >= 100 else 2)
        shown[key] = missing(reason) if value is None else Cell(text, value, rivals=rivals)
    for key in ("peak_memory", "peak_memory_increase"):
        value = cell[key]
        tip = f"{cell['memory_kind']} memory, largest over processes"
        shown[key] = missing(reason) if value is None else Cell(size(value), value, tip=tip, rivals=rivals)
    step = cell["step_seconds"]
    if step:
        text, spread = f"{step['median']:.3f}", f"[{step['p10']:.3f}, {step['p90']:.3f}]"
        tip = f"{cell['steps']} steps after {cell['warmup_steps']} of warm-up"
        shown["step_seconds"] = Cell(text, step["median"], {"p10": step["p10"], "p90": step["p90"]}, tip, detail=spread)
    if cell["mfu"] is not None:
        tip = f"{cell['mfu_formula']}; peak {cell['peak_flops']:.3g} FLOP/s, {cell['peak_source']}"
        shown["mfu"] = Cell(score("acc", cell["mfu"]), cell["mfu"], tip=tip)
    return Row(shown)
