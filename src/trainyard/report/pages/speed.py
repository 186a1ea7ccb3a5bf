"""Speed and memory of parallel settings, each launched several times, alone and in turn."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trainyard.config.study import Published, Study
from trainyard.core.statistics import Estimate
from trainyard.report.pages import heatmap
from trainyard.report.pages.cells import outcome_cell
from trainyard.report.pages.predicted_memory import COLOURS as PARTS
from trainyard.report.pages.predicted_memory import TOO_SMALL, measured_increase, percent, reported_error
from trainyard.report.render import style
from trainyard.report.render.format import SHARE, decimal, join_words, plural, score, size, tick, truncate
from trainyard.report.render.html import Cell, Column, Row, Table, missing_cell, write_table
from trainyard.report.results import measurements
from trainyard.report.results.measurements import (
    COORDINATES,
    PLACE,
    QUIET,
    MeasuredCell,
    binary_unit,
    cell_label,
    describe_loads,
    describe_peak,
    memory_title,
    other_load,
    select_comparable,
    shared_label,
    varying_coordinates,
)
from trainyard.report.results.published import PUBLISHED, cell_coordinates, published_cell_row
from trainyard.report.statistics.selection import describe_choice
from trainyard.report.statistics.speeds import Ranking, rank_cells

MOST = 48
SPEEDS = ("tokens_per_second", "samples_per_second")


COLUMNS = [
    Column("model", "model", text=True),
    Column("parallel", "parallel setting", text=True),
    Column("processes", "processes"),
    Column("precision", "precision", text=True),
    Column("batch", "measured", "batch per process"),
    Column("largest_batch", "largest", "batch per process", best="high", tip="that fits, by bisection"),
    Column("sequence_length", "sequence"),
    Column("outcome", "outcome", text=True),
    Column("tokens_per_second", "tokens/s", "speed, all processes", "high"),
    Column("samples_per_second", "samples/s", "speed, all processes", "high"),
    Column("step_seconds", "step, s", "speed, all processes", tip="median [10th to 90th percentile]"),
    Column("device_memory", "peak", "device memory per process", "low"),
    Column("host_memory", "peak", "host memory per process", "low"),
    Column(
        "host_memory_increase",
        "increase",
        "host memory per process",
        "low",
        tip="over the process after imports and group start",
    ),
    Column("predicted_memory", "predicted", "predicted memory"),
    Column("prediction_error", "error %", "predicted memory", tip="predicted / measured increase, minus one"),
    Column("limit", "limit of memory", tip="of a process: what it could take at most", text=True),
    Column("activations", "activations", tip="kept, or computed again where they are needed", text=True),
    Column("mode", "mode", tip="eager, or compiled by torch.compile; with TF32; with frozen parts", text=True),
    Column("tflops", "6N + 12LHQT", "TFLOP/s per process"),
    Column("tflops_megatron", "Megatron", "TFLOP/s per process", tip="decoder-only models"),
    Column("mfu", "MFU %", tip="share of the peak: hover over a value for formula and peak"),
    Column("reason", "why there is no result", text=True),
    Column("device", "device", text=True),
    Column("others", "others, %", tip="of all cores, that other processes used while it was measured"),
    Column("source", "source", text=True),
]


def draw(study: Study, *, cells: Sequence[Path], output: Path) -> None:
    """Draw tokens per second and peak memory of each cell: as heat maps where batches differ, else as bars.

    Args:
        study: whose measurements they are.
        cells: measure/*.json.
        output: the SVG.
    """
    every = measurements.read_cells(cells)
    if not every:
        style.draw_empty(output, f"Nothing was measured in “{study.title}”.")
    elif "batch" in varying_coordinates(every):
        heatmap.draw(every, output)
    else:
        _bars(every, output)


def _bars(every: Sequence[dict[str, Any]], output: Path) -> None:
    names = varying_coordinates(every)
    selected = every[:MOST]
    palette = style.assign_colours([cell["parallel"] for cell in selected])
    tints = [palette[cell["parallel"]] for cell in selected]
    labels = [truncate(cell_label(cell, names), 40) for cell in selected]
    height = 1.55 + 0.27 * len(selected)
    margin = 0.0068 * max(len(text) for text in labels) + 0.02
    with style.figure(output, height=height) as drawing:
        panels = drawing.subplots(1, 2, sharey=True)
        drawing.subplots_adjust(left=margin, right=0.985, top=1 - 0.5 / height, bottom=0.9 / height, wspace=0.06)
        _bars_of(panels[0], selected, "tokens_per_second", tints, "Tokens per second", "tokens/s, mean of launches")
        _bars_of(panels[1], selected, "peak_memory_increase", tints, memory_title(selected), "largest over processes")
        panels[0].set_yticks(range(len(selected)), labels)
        more = f"the first {MOST} of {len(every)}; all are in the table" if len(every) > MOST else ""
        style.note(drawing, "; ".join(part for part in (shared_label(every), more) if part))


def describe_speeds(cells: Sequence[MeasuredCell]) -> list[str]:
    """Which parallel setting is fastest, of cells that are alike in all else; ties are called ties.

    Of each model, number of processes, precision and sequence length the batch at which most settings finished stands
    for all.
    """
    names = [name for name in varying_coordinates(cells) if name not in ("model", "parallel")]
    measured = [cell for cell in cells if cell["tokens_per_second"] is not None]
    return [_describe_ranking(ranking, names) for ranking in rank_cells(select_comparable(measured))]


def _describe_ranking(ranking: Ranking, names: Sequence[str]) -> str:
    first, settings = ranking.cells[0], [cell["parallel"] for cell in ranking.cells]
    where = f", {cell_label(first, names)}" if names else ""
    number, load = len(first["launches"]), describe_loads(ranking.cells)
    count = f"{number} launches" if number > 1 else "one launch"
    speed = _speed_with_interval(ranking.fastest)
    if len(settings) > 1 and ranking.fastest.low is not None:
        load = f"interval{describe_choice(len(settings))}; {load}"
    if len(settings) == 1:
        return f"{settings[0]} runs {first['model']}{where} at {speed} over {count} ({load})."
    head = f"{first['model']} on random tokens{where}:"
    if ranking.tied is None:
        return f"{head} which setting is fastest can't be told ({ranking.reason}); highest is {settings[0]}'s {speed}."
    noise = f"these can't tell apart less than {decimal(100 * (ranking.detectable or 0.0), 1)} %"
    if ranking.tied > 1:
        tied = settings[: ranking.tied]
        rest = f"; slower: {truncate(join_words(settings[ranking.tied :]), 120)}" if settings[ranking.tied :] else ""
        last = decimal(ranking.speeds[ranking.tied - 1].value, 0)
        return (
            f"{head} {truncate(join_words(tied), 160)} are tied as the fastest, with {speed} down to {last} over "
            f"{count} each, in turn; {noise} ({load}){rest}."
        )
    ahead = 100 * (ranking.speeds[0].value / ranking.speeds[1].value - 1)
    return (
        f"{head} {settings[0]} is fastest, with {speed} over {count} in turn ({load}): {decimal(ahead, 1)} % faster "
        f"than {settings[1]}, the second, where {noise}."
    )


def _speed_with_interval(speed: Estimate) -> str:
    interval = "" if speed.low is None else f" [{decimal(speed.low, 0)}, {decimal(speed.high, 0)}]"
    return f"{decimal(speed.value, 0)} tokens/s{interval}"


def _bars_of(
    axes: Axes, cells: Sequence[dict[str, Any]], key: str, tints: Sequence[str], title: str, unit: str
) -> None:
    memory = key == "peak_memory_increase"
    scale, name = binary_unit(cell[key] for cell in cells) if memory else (1, "")
    values = [(cell[key] or 0.0) / scale for cell in cells]
    axes.barh(range(len(cells)), values, color=tints, height=0.7, zorder=2)
    ends = list(values)
    speeds = {} if memory else _estimates(cells)
    for index, cell in enumerate(cells):
        speed = speeds.get(id(cell))
        if speed and speed.low is not None and speed.high is not None:
            ends[index] = speed.high
            axes.hlines(index, speed.low, speed.high, color=style.INK, linewidth=1.4, zorder=3)
    top = max(ends) or 1.0
    for index, (cell, value) in enumerate(zip(cells, ends, strict=True)):
        known = cell[key] is not None
        axes.text(
            value + 0.012 * top,
            index,
            (size(cell[key]) if memory else decimal(values[index], 0)) if known else cell["outcome"],
            va="center",
            fontsize=9,
            color=style.INK if known else style.FAINT,
            style="normal" if known else "italic",
        )
    axes.set(title=title, xlabel=f"{name}, {unit}" if memory else unit)
    axes.set(xlim=(0, 1.2 * top), ylim=(len(cells) - 0.4, -0.6))
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def tabulate(study: Study, *, cells: Sequence[Path], table: Path, numbers: Path) -> None:
    """Write speed and memory as HTML and CSV.

    Args:
        study: gives the title.
        cells: measure/*.json.
        table: the HTML page.
        numbers: the CSV.
    """
    every, searches = measurements.read_cells(cells), measurements.read_searches(cells)
    rows = [_row(cell) for cell in every]
    _add_speeds(rows, every)
    fits = {_setting(search): _largest(search) for search in searches}
    for row, cell in zip(rows, every, strict=True):
        row.cells["largest_batch"] = fits.get(_setting(cell), Cell(""))
    # a search of what no cell measures
    known = {_setting(cell) for cell in every}
    rows += [_search_row(search) for search in searches if _setting(search) not in known]
    published = [entry for entry in study.published if entry.cell] if rows else []
    notes = [
        f"Random tokens, warm-up steps left out; {_company(every)}. MFU is the model's arithmetic over the "
        "device's peak: hover over a value for the formula and the peak's source.",
        "Bold marks the least memory among cells of the same model, batch and sequence length, and the highest speed "
        "among cells that differ in their parallel setting alone; a dotted line marks speeds that launches can't tell "
        "from it (Tukey's test over rounds, 5 % for all pairs). A speed is the geometric mean over launches, each the "
        "median of its steps; [a, b] is its 95 % interval.",
    ]
    if any(cell["prediction_error"] is not None and reported_error(cell) is None for cell in every):
        notes.append(f"Predicted memory: {TOO_SMALL}.")
    # what all cells share is in a note, so that memory is in sight
    distinguishing = varying_coordinates([*every, *searches, *map(cell_coordinates, published)])
    alike = [name for name in COORDINATES if name not in distinguishing and name != "parallel"] if every[1:] else []
    if every[1:]:
        devices = {row.cells["device"].text for row in rows if _has_value(row, "device")}
        if len(devices) == 1:
            alike.append("device")
            notes.insert(0, f"Measured on {devices.pop()}.")
        notes.insert(0, f"All cells: {shared_label(every)}.")
    # a column that no cell of ours fills says nothing of them
    filled = {column.key for column in COLUMNS if any(_has_value(row, column.key) for row in rows)}
    filled |= {"source"} if published else set()
    columns = [replace(column, shown=column.key in filled - set(alike)) for column in COLUMNS]
    rows = [*_beside_published(rows, every, published)]
    page = Table("Speed and memory", columns, rows, notes, "Nothing was measured.")
    write_table(page, study.title, table, numbers)


def _company(cells: Sequence[dict[str, Any]]) -> str:
    """What else ran while they were measured."""
    shares = [share for cell in cells if (share := other_load(cell)) is not None]
    busy = sum(share >= QUIET for share in shares)
    if not shares or not busy:
        return "unknown what else ran" if not shares else "nothing else running"
    return (
        f"other processes used up to {100 * max(shares):.0f} % of the cores, and {100 * QUIET:.0f} % or more in "
        f"{busy} of {plural(len(shares), 'cell')}: their speed is what was left"
    )


def _beside_published(
    rows: Sequence[Row], cells: Sequence[dict[str, Any]], published: Sequence[Published]
) -> Iterator[Row]:
    """The rows, each followed by what others published of the same cell; what is of none of ours comes last."""
    left = list(published)
    for row, cell in itertools.zip_longest(rows, cells):
        yield row
        coordinates_of_cell = cell and {name: cell[name] for name in COORDINATES if name != "limit"}
        for entry in [
            entry
            for entry in left
            if coordinates_of_cell and coordinates_of_cell.items() <= cell_coordinates(entry).items()
        ]:
            left.remove(entry)
            yield published_cell_row(entry)
    yield from (published_cell_row(entry, PUBLISHED) for entry in left)


def _has_value(row: Row, key: str) -> bool:
    return key in row.cells and row.cells[key].value is not None


def _setting(cell: dict[str, Any]) -> tuple[Any, ...]:
    return (cell["parallel"], *(cell[name] for name in PLACE))


def _largest(search: dict[str, Any]) -> Cell:
    """The largest batch that a search found, with what it tried."""
    largest = search["largest_batch"]
    tried = ", ".join(f"{each['batch']} {each['outcome']}" for each in search["tried"])
    rivals = "/".join(str(search[name]) for name in PLACE)
    if largest is None:
        return missing_cell(search["reason"] or tried)
    # the search went no farther
    text = f"\N{GREATER-THAN OR EQUAL TO} {largest}" if largest == search["largest_tried"] else str(largest)
    return Cell(text, largest, {"tried": tried}, tip=f"tried: {tried}", rivals=rivals)


def _search_row(search: dict[str, Any]) -> Row:
    cells = {name: Cell(str(search[name]), search[name]) for name in (*PLACE, "parallel")}
    cells |= {"batch": missing_cell("the largest was searched for"), "largest_batch": _largest(search)}
    cells["outcome"] = outcome_cell(search["outcome"], search["reason"])
    cells["reason"] = Cell(search["reason"] or "", search["reason"], kind="prose")
    return Row(cells)


def _row(cell: dict[str, Any]) -> Row:
    cells = {name: Cell(str(cell[name]), cell[name]) for name in COORDINATES}
    cells["outcome"] = outcome_cell(cell["outcome"], cell["reason"])
    device = cell["device_name"] or ""
    cells["device"] = Cell(truncate(device, 40), device, {"timing": cell["timing"]}, tip=device)
    rivals = f"{cell['model']}/{cell['batch']}/{cell['sequence_length']}"
    reason = cell["reason"] or ""
    for key in SPEEDS:
        if cell[key] is None:
            cells[key] = missing_cell(reason)
    for key in ("tflops", "tflops_megatron"):
        value = cell[key]
        text, tip = decimal(value, 3 if value and value < 1 else 1), cell[f"{key}_formula"]
        cells[key] = missing_cell(reason) if value is None else Cell(text, value, tip=tip)
    cells |= _memory(cell, rivals)
    # of a framework that crashed: what it said, and not the log's last lines
    cells["reason"] = Cell(reason.partition("\n")[0], cell["reason"], tip=reason, kind="prose")
    step = cell["step_seconds"]
    if step:
        text, spread = f"{step['median']:.3f}", f"[{step['p10']:.3f}, {step['p90']:.3f}]"
        launches = len(cell["launches"])
        tip = f"{cell['steps']} steps after {cell['warmup_steps']} of warm-up; geometric mean, launches: {launches}"
        cells["step_seconds"] = Cell(text, step["median"], {"p10": step["p10"], "p90": step["p90"]}, tip, detail=spread)
    if (share := other_load(cell)) is not None:
        before = f"{100 * cell['other_load']['before']:.0f} % in the second before"
        kind = "warn" if share >= QUIET else "muted"
        cells["others"] = Cell(f"{100 * share:.0f}", share, {"before": cell["other_load"]["before"]}, before, kind)
    if cell["mfu"] is not None:
        tip = f"{cell['mfu_formula']}; {describe_peak(cell)}"
        cells["mfu"] = Cell(score(SHARE, cell["mfu"]), cell["mfu"], tip=tip)
    elif cell["mfu_reason"]:
        cells["mfu"] = missing_cell(cell["mfu_reason"])
    return Row(cells)


def _estimates(cells: Sequence[MeasuredCell]) -> dict[int, Estimate]:
    """The speed of each cell (by id) with its interval."""
    return {
        id(cell): speed
        for ranking in rank_cells(cells)
        for cell, speed in zip(ranking.cells, ranking.speeds, strict=True)
    }


def _add_speeds(rows: Sequence[Row], cells: Sequence[MeasuredCell]) -> None:
    """Tokens and samples a second, with their interval, and whether launches can tell them from the fastest."""
    row_of = {id(cell): row for row, cell in zip(rows, cells, strict=True)}
    for number, ranking in enumerate(rank_cells(cells)):
        for place, (cell, speed) in enumerate(zip(ranking.cells, ranking.speeds, strict=True)):
            launches = [launch["tokens_per_second"] for launch in cell["launches"]]
            tip = f"tokens/s by launch: {', '.join(decimal(each, 0) for each in launches)}"
            for key in SPEEDS:
                scaled = speed.scale(cell[key] / cell["tokens_per_second"])
                digits = 0 if scaled.value >= 100 else 2
                ends = [decimal(end, digits) for end in (scaled.low, scaled.high)]
                more = {"standard_error": scaled.standard_error, "low": scaled.low, "high": scaled.high}
                row_of[id(cell)].cells[key] = Cell(
                    decimal(scaled.value, digits),
                    scaled.value,
                    {**more, "launches": len(launches)},
                    tip,
                    rivals=str(number),
                    detail="" if scaled.low is None else f"[{', '.join(ends)}]",
                    noise=None if ranking.tied is None else place < ranking.tied,
                )


def _memory(cell: dict[str, Any], rivals: str) -> dict[str, Cell]:
    """The memory of the process with the highest peak, with each rank's; what was predicted, and what was allowed."""
    cells: dict[str, Cell] = {}
    for key, own in (
        ("device_memory", "peak_device_memory"),
        ("host_memory", "peak_host_memory"),
        ("host_memory_increase", "host_memory_increase"),
    ):
        ranks = {f"rank{rank['rank']}": rank[own] for rank in cell["ranks"] or [] if rank[own] is not None}
        if ranks:
            largest = max(ranks.values())
            tip = ", ".join(f"{rank}: {size(value)}" for rank, value in ranks.items())
            cells[key] = Cell(size(largest), largest, dict(ranks), tip, rivals=rivals)
    predicted, error = cell["predicted_memory"], reported_error(cell)
    if predicted:
        parts = {name: predicted[name] for name in PARTS}
        tip = f"{predicted['kind']} memory: " + ", ".join(f"{name} {size(value)}" for name, value in parts.items())
        tip += f"; the peak: {predicted['moment']}"
        if predicted["host"]:
            parts["host"] = predicted["host"]
            tip += f"; besides {size(predicted['host'])} on the host"
        cells["predicted_memory"] = Cell(size(predicted["total"]), predicted["total"], parts, tip)
    if error is None and cell["prediction_error"] is not None:
        cells["prediction_error"] = missing_cell(f"measured increase: {size(measured_increase(cell))}; {TOO_SMALL}")
    if error is not None:
        tip = f"measured increase: {size(measured_increase(cell))}"
        cells["prediction_error"] = Cell(percent(error).removesuffix(" %"), error, tip=tip)
    return cells
