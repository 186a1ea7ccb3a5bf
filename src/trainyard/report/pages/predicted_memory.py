"""Predicted memory beside the measured increase."""

from collections.abc import Sequence
from pathlib import Path

from trainyard.config.study import Study
from trainyard.report.pages import stacked_bars
from trainyard.report.render import style
from trainyard.report.render.format import MINUS, size
from trainyard.report.results.measurements import MeasuredCell, binary_unit, read_cells, select_comparable

LARGE = 2**28
"""Bytes that are predicted: below, library overhead outweighs what the model takes. Not bytes that are measured: then
a prediction that is far too high would be left out."""
TOO_SMALL = f"where less than {size(LARGE)} is predicted library overhead outweighs the model, so no error is given"
COLOURS = {
    "parameters": style.PALETTE[0],
    "gradients": style.PALETTE[5],
    "optimizer": style.PALETTE[2],
    "activations": style.PALETTE[4],
    "buffers": "#c4c9d1",
}


def draw(study: Study, *, cells: Sequence[Path], output: Path) -> None:
    """Draw what a process was predicted to need, part by part, with what it took as a mark.

    Every cell with a prediction is drawn; of more than fit those of the batch at which most
    parallel settings finished.

    Args:
        study: whose measurements they are.
        cells: measure/*.json.
        output: the SVG.
    """
    predicted = [cell for cell in read_cells(cells) if cell["predicted_memory"]]
    if not predicted:
        style.draw_empty(output, f"No memory was predicted in “{study.title}”.")
        return
    selected = predicted if len(predicted) <= stacked_bars.MOST else select_comparable(predicted)
    scale, unit = binary_unit(cell["predicted_memory"]["total"] for cell in selected)
    kinds = " or ".join(sorted({cell["predicted_memory"]["kind"] for cell in selected}))
    stacked_bars.draw(
        selected,
        lambda cell: _bar(cell, scale),
        COLOURS,
        f"{unit} of {kinds} memory of a process",
        output,
        mark="measured increase",
        remark=TOO_SMALL if any(reported_error(cell) is None and measured_increase(cell) for cell in selected) else "",
    )


def reported_error(cell: MeasuredCell) -> float | None:
    """How far off a prediction is; None where it isn't known, or what libraries keep outweighs the model."""
    return cell["prediction_error"] if (cell["predicted_memory"] or {"total": 0})["total"] >= LARGE else None


def measured_increase(cell: MeasuredCell) -> float | None:
    """The bytes that the prediction is compared with."""
    error = cell["prediction_error"]
    return None if error is None else cell["predicted_memory"]["total"] / (1 + error)


def percent(error: float) -> str:
    """An error with its sign: `+3.1 %`."""
    return f"{100 * error:+.1f} %".replace("-", MINUS)


def _bar(cell: MeasuredCell, scale: int) -> stacked_bars.Bar:
    parts = {name: cell["predicted_memory"][name] / scale for name in COLOURS}
    text, increase = size(cell["predicted_memory"]["total"]), measured_increase(cell)
    if increase is None:
        return stacked_bars.Bar(
            parts, f"{text}, {'not measured' if cell['outcome'] == 'finished' else cell['outcome']}"
        )
    error = reported_error(cell)
    beside = f"measured {size(increase)}" if error is None else percent(error)
    return stacked_bars.Bar(parts, f"{text}, {beside}", increase / scale)
