"""What each run has taken: energy by its class, emissions, money, device hours, utilisation."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from trainyard.config.settings import Energy, Prices
from trainyard.config.study import Study
from trainyard.report.render.format import decimal, plural, significant
from trainyard.report.render.html import Cell, Column, Raw, Row, Table, missing_cell, write_table
from trainyard.report.results.runs import Run, read_runs, run_labels
from trainyard.report.statistics.cost import describe_prices
from trainyard.report.statistics.energy import ERROR, Consumption, Usage, describe_grid, read_usage
from trainyard.report.statistics.seeds import group_configurations

TITLE = "Energy of runs"
MEANS = "Runs that differ only in their seed: means"
EMPTY = "No run of this study has readings of a meter: they were made before there were any, or nothing was started."
NOTES = [
    "A counter is the device's own: of GPUs NVML's, of processors RAPL's. It is of whole devices, and is a run's own "
    "where nothing else ran on them. A model multiplies CPU time and memory by assumed watts; such "
    f"models were off by up to {100 * ERROR:.0f} % (Fischer 2025, arXiv:2509.22092). Classes are never added: beside "
    "the energy of GPUs, that of the processors has a column of its own.",
    "All attempts of a run count, interrupted ones too, from the start of their processes to their end. Evaluation, "
    "data and report, idle machines, disks, network and the making of the hardware don't.",
]


def tabulate(
    study: Study, *, runs: Sequence[Path], energy: Energy, prices: Prices | None, table: Path, numbers: Path
) -> None:
    """Write what each run has taken as HTML and CSV.

    Args:
        study: gives the title.
        runs: folders with spec.json and summary.json.
        energy: watts, and the grid.
        prices: of a device's hour.
        table: the HTML page.
        numbers: the CSV.
    """
    loaded = read_runs(runs)
    usages = {run.name: usage for run in loaded if (usage := read_usage(run, energy, prices))}
    labels = run_labels(loaded, set(usages))
    over_seeds = list(_over_seeds(loaded, usages))
    rows = [*over_seeds, *(Row({"run": Cell(labels[run], run), **_cells(each)}) for run, each in usages.items())]
    notes = [*NOTES, f"{describe_grid(energy)}."]
    if prices:
        notes.append(f"{prices.currency} for {describe_prices(prices)}.")
    columns = _columns(rows, prices)
    page = Table(TITLE, columns, rows, notes if rows else [], EMPTY, main="Each run" if over_seeds else "")
    write_table(page, study.title, table, numbers)


def energy_cell(consumption: Consumption | None, reason: str | None) -> Cell:
    """Kilowatt-hours with their class, and the interval of a model's."""
    if consumption is None:
        return replace(missing_cell(reason or ""), more={"class": "none"}, detail="none")
    low, high = consumption.interval or (None, None)
    more: dict[str, Raw] = {"class": consumption.kind, "low": low, "high": high}
    return Cell(significant(consumption.kwh), consumption.kwh, more, consumption.what, detail=consumption.label)


def _cells(usage: Usage) -> dict[str, Cell]:
    cells = {
        "kwh": energy_cell(usage.consumption, usage.reason),
        "device_hours": Cell(significant(usage.device_hours), usage.device_hours),
        "cpu": Cell(decimal(100 * usage.cpu_utilisation, 0), usage.cpu_utilisation),
        "launches": Cell(str(usage.launches), usage.launches),
    }
    if usage.emissions is not None:
        cells["kg"] = Cell(significant(usage.emissions), usage.emissions)
    if usage.money is not None:
        cells["money"] = Cell(significant(usage.money), usage.money)
    if usage.gpu_utilisation is not None:
        cells["gpu"] = Cell(decimal(100 * usage.gpu_utilisation, 0), usage.gpu_utilisation)
    for key, other in (("processor_model", usage.model), ("packages", usage.packages)):
        if other is not None and other != usage.consumption:
            cells[key] = energy_cell(other, None)
    return cells


def _over_seeds(runs: Sequence[Run], usages: dict[str, Usage]) -> Iterator[Row]:
    """The means of configurations whose seeds are all of one class."""
    for configuration in group_configurations(runs):
        each = [usages[run.name] for run in configuration.runs if run.name in usages]
        if len(each) < len(configuration.runs):
            continue
        cells = [_cells(usage) for usage in each]
        kinds = {(usage.consumption.kind, usage.consumption.what) if usage.consumption else None for usage in each}
        row = Row({"run": Cell(configuration.label, configuration.label, detail=plural(len(each), "seed"))}, MEANS)
        for key in cells[0]:
            values = [
                float(cell.value) for one in cells if (cell := one.get(key)) and isinstance(cell.value, int | float)
            ]
            if len(values) < len(each) or key == "launches" or (key in ("kwh", "kg") and len(kinds) > 1):
                continue
            row.cells[key] = _mean_cell(key, cells[0][key], fmean(values), values)
        yield row


def _mean_cell(key: str, like: Cell, mean: float, values: Sequence[float]) -> Cell:
    share = key in ("cpu", "gpu")
    text = decimal(100 * mean, 0) if share else significant(mean)
    tip = ", ".join(decimal(100 * value, 0) if share else significant(value) for value in sorted(values))
    more = {"class": like.more["class"]} if "class" in like.more else {}
    return Cell(text, mean, more, f"{len(values)} seeds: {tip}", detail=like.detail)


def _columns(rows: Sequence[Row], prices: Prices | None) -> list[Column]:
    every = [
        Column("run", "run", text=True),
        Column("kwh", "kWh", "energy", tip="of what the run computes on, with its class"),
        Column("kg", "kg CO2e", "energy", tip="of the column before"),
        Column("processor_model", "processors, model", "beside it", tip="CPU time and memory times watts; never added"),
        Column("packages", "processors, counter", "beside it", tip="whole, with all that ran on them; never added"),
        Column("money", prices.currency if prices else "money", "cost"),
        Column("device_hours", "device hours", "cost", tip="time x processes, all attempts"),
        Column("cpu", "CPU %", "utilisation", tip="CPU time over that of the run's threads; launcher included"),
        Column("gpu", "GPU %", "utilisation", tip="of the time, by NVML: a kernel ran, however small"),
        Column("launches", "launches", tip="interrupted ones too"),
    ]
    used = {key for row in rows for key, cell in row.cells.items() if cell.value is not None}
    return [column for column in every if column.key in used or column.key in ("run", "kwh")]
