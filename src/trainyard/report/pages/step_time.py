"""Where the time of a step goes under each parallel setting."""

from collections.abc import Sequence
from pathlib import Path

from trainyard.config.study import Study
from trainyard.report.pages import stacked_bars
from trainyard.report.render import style
from trainyard.report.render.format import decimal, truncate
from trainyard.report.results.measurements import MeasuredCell, read_cells, select_comparable

COLOURS = {
    "compute": style.PALETTE[0],
    "communication": style.PALETTE[1],
    "optimizer": style.PALETTE[2],
    "offload": style.PALETTE[3],
    "other": "#c4c9d1",
}


def draw(study: Study, *, cells: Sequence[Path], output: Path) -> None:
    """Draw the milliseconds of a step by what they are spent on, as stacked bars.

    Of each model, number of processes, precision and sequence length the batch at which
    most parallel settings finished is drawn.

    Args:
        study: whose measurements they are.
        cells: measure/*.json.
        output: the SVG.
    """
    selected = [cell for cell in select_comparable(read_cells(cells)) if cell["outcome"] != "unsupported"]
    if not any(cell["breakdown"] for cell in selected):
        style.draw_empty(output, f"No step of “{study.title}” was profiled.")
        return
    remark = "of one profiled step, mean over steps"
    stacked_bars.draw(selected, _bar, COLOURS, "milliseconds per step", output, remark=remark)


def _bar(cell: MeasuredCell) -> stacked_bars.Bar:
    if not cell["breakdown"]:
        return stacked_bars.Bar({}, truncate(cell["breakdown_reason"] or cell["outcome"], 90))
    parts = {name: 1000 * cell["breakdown"][name] for name in COLOURS}
    whole = sum(parts.values())
    largest_part = max((name for name in parts if name != "compute"), key=lambda name: parts[name])
    return stacked_bars.Bar(
        parts,
        f"{decimal(whole, 0 if whole >= 100 else 1)} ms, {100 * parts[largest_part] / whole:.0f} % {largest_part}",
    )
