"""A cell from its launches: the launch is the unit of what is known of its speed, and not the step.

Steps of one launch share memory layout, thread placement and whatever else ran, so that they vary less than launches
do, and follow one another (Hoefler and Belli 2015, Scientific Benchmarking of Parallel Computing Systems).
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from trainyard.core.failure_counts import FAILED
from trainyard.core.files import read_json, write_json
from trainyard.hardware.peak_flops import compute_mfu

OF_A_LAUNCH = ("launch", "started", "tokens_per_second", "step_seconds", "peak_memory_increase", "other_load")
SPEEDS = ("tokens_per_second", "samples_per_second", "tflops", "tflops_megatron")


def combine(launches: Sequence[Path], peak: Path | None, output: Path) -> None:
    """Write the file of a cell: of speeds the geometric mean over its launches, with each launch and the MFU.

    Memory is that of the launch that took most, time by part that of the first. A cell has finished if every launch
    has; otherwise it ended as the first did that hasn't.

    Args:
        launches: their files, or the one file of a search.
        peak: the file of the peak; None for what can't be done here.
        output: the file to write.
    """
    rows = [read_json(path) for path in launches]
    failed = [row for row in rows if row["outcome"] != "finished"]
    failed.sort(key=lambda row: row["outcome"] != FAILED)
    cell = failed[0] if failed else _combine_finished(rows)
    flops = None if cell["tflops"] is None else cell["tflops"] * 1e12
    figures = {name: value for name, value in cell.items() if name not in ("launch", "started")}
    mfu = compute_mfu(flops, cell["device_name"], read_json(peak) if peak else None)
    write_json(output, {**figures, **mfu, "launches": [{name: row[name] for name in OF_A_LAUNCH} for row in rows]})


def _combine_finished(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    largest = max(rows, key=lambda row: row["peak_memory_increase"] or 0)
    cell = largest | {name: rows[0][name] for name in ("breakdown", "breakdown_reason")}
    for name in SPEEDS:
        if all(row[name] is not None for row in rows):
            cell[name] = geometric_mean(row[name] for row in rows)
    if all(row["step_seconds"] for row in rows):
        parts = rows[0]["step_seconds"]
        cell["step_seconds"] = {part: geometric_mean(row["step_seconds"][part] for row in rows) for part in parts}
    loads = [row["other_load"] for row in rows]
    if all(loads):
        cell["other_load"] = {when: max(load[when] for load in loads) for when in loads[0]}
    return cell
