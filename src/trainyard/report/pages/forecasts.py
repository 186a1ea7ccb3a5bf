"""Losses forecast before their runs were trained, beside what these came to."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from trainyard.config.study import Study
from trainyard.report.render import style
from trainyard.report.render.format import change_of_ratio, decimal, plural, scientific, short, tick
from trainyard.report.render.html import Cell, Column, Row, Table, missing_cell, write_table
from trainyard.report.results.forecasts import TestedForecast, select_forecasts
from trainyard.report.results.runs import distinguishing_coordinates, label, read_runs
from trainyard.report.statistics.chinchilla import ChinchillaLaw
from trainyard.report.statistics.forecast import BY_SIZE_AND_TOKENS, Forecast, Trained, leave_out_each_size
from trainyard.report.statistics.study import Evidence

LEFT_OUT = "Each size left out in turn, at its most tokens"
NOTES = [
    "A forecast is an input of its run's training, which keeps it as it was when it began: made again later, it "
    "changes nothing here. The run's record holds its hash.",
    "The interval is for one new run, 95 %, by the fit's scatter and leverage. It knows noise, and nothing of a law "
    "that bends beyond the sizes it was fitted to.",
    "Compute is 6 N D over that of the largest run the law was fitted to; N are all parameters.",
]


def tabulate(study: Study, *, runs: Sequence[Path], table: Path, numbers: Path) -> None:
    """Write forecast and measured losses as HTML and CSV.

    Args:
        study: gives the title.
        runs: folders with spec.json and summary.json.
        table: the HTML page.
        numbers: the CSV.
    """
    found = select_forecasts(read_runs(runs))
    write_table(_table(found), study.title, table, numbers)


def draw(study: Study, *, runs: Sequence[Path], output: Path) -> None:
    """Draw loss against compute on log-log axes: the runs, the law of each size, what is forecast and what it came to.

    Args:
        study: gives the title.
        runs: folders with spec.json and summary.json.
        output: the SVG.
    """
    found = [each for each in select_forecasts(read_runs(runs)) if each.raw["loss"] is not None]
    if not found:
        style.draw_empty(output, f"No loss of “{study.title}” could be forecast.")
        return
    ladders = _ladders(found)
    with style.figure(output, height=4.8 * len(ladders)) as drawing:
        for row, (runs_below, forecasts) in enumerate(ladders.items()):
            part = 1 / len(ladders)
            axes = drawing.add_axes((0.075, 1 - (row + 1) * part + 0.135 * part, 0.64, 0.77 * part))
            data = " · ".join(dict.fromkeys(each.run.coordinates["dataset"] for each in forecasts))
            axes.set(xlabel="compute, 6 N D FLOP", ylabel="loss, nats per token")
            axes.set_title(f"Validation loss against compute{f', {data}' if len(ladders) > 1 else ''}")
            _panel(axes, runs_below, forecasts)
            handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
            axes.legend(handles.values(), handles.keys(), loc="upper left", bbox_to_anchor=(1.02, 1.0))


def describe_forecasts(evidence: Evidence) -> list[str]:
    """What was forecast, what it came to, and how far the law is off where it can be tried on the cheaper runs."""
    forecasts = select_forecasts(evidence.runs)
    if not forecasts:
        return []
    names = distinguishing_coordinates([each.run for each in forecasts])
    sentences = [_describe(each, label(each.run, names or ["model"])) for each in forecasts]
    tried = _tried(forecasts)
    errors = [abs(run.loss / found.loss - 1) for run, found in tried if isinstance(found, Forecast)]
    if errors:
        held = sum(found.low <= run.loss <= found.high for run, found in tried if isinstance(found, Forecast))
        sentences.append(
            f"With each of {plural(len(tried), 'size')} left out in turn the others forecast its largest run within "
            f"{decimal(100 * max(errors), 1)} % (mean {decimal(100 * sum(errors) / len(errors), 1)} %); "
            f"{held} of {len(errors)} are inside their intervals."
        )
    return sentences


def _describe(tested: TestedForecast, name: str) -> str:
    raw = tested.raw
    if raw["loss"] is None:
        return f"{name}: no loss could be forecast: {raw['reason']}."
    text = (
        f"{name}, with {decimal(tested.times_compute, 1)} times the compute of the largest of "
        f"{plural(len(raw['runs']), 'cheaper run')}: {decimal(raw['loss'])} nats "
        f"[{decimal(raw['low'])}, {decimal(raw['high'])}] were forecast by {raw['law']} before it was trained"
    )
    if tested.error is None:
        return f"{text}; it came to no loss to compare ({tested.run.summary['outcome']})."
    side, inside = "above" if tested.error > 0 else "below", "inside" if tested.inside else "outside"
    error = f"{decimal(100 * abs(tested.error), 1)} % {side} the forecast"
    return f"{text}; it came to {decimal(tested.measured)}, {error} and {inside} the interval."


def _tried(forecasts: Sequence[TestedForecast]) -> list[tuple[Trained, Forecast | str]]:
    """The law's trials on the runs that the forecasts rest on, which are mostly the same ones."""
    return [trial for runs in _ladders(forecasts) for trial in leave_out_each_size(runs)]


def _ladders(forecasts: Sequence[TestedForecast]) -> dict[tuple[Trained, ...], list[TestedForecast]]:
    """The forecasts by the runs that they rest on."""
    ladders: dict[tuple[Trained, ...], list[TestedForecast]] = {}
    for each in forecasts:
        runs = tuple(Trained(run["parameters"], run["tokens"], run["loss"]) for run in each.raw["runs"])
        ladders.setdefault(runs, []).append(each)
    return ladders


def _table(forecasts: Sequence[TestedForecast]) -> Table:
    columns = [
        Column("run", "run", text=True),
        Column("parameters", "parameters"),
        Column("tokens", "tokens"),
        Column("times_compute", "compute", tip="over that of the largest run that it rests on"),
        Column("law", "law", text=True),
        Column("forecast", "forecast", "loss, nats per token"),
        Column("measured", "measured", "loss, nats per token"),
        Column("error", "error", tip="of the measured loss over the forecast"),
        Column("inside", "in the interval", text=True),
        Column("made", "made", text=True),
    ]
    names = distinguishing_coordinates([each.run for each in forecasts]) or ["model"]
    rows = [_row(each, label(each.run, names)) for each in forecasts]
    rows += [_trial_row(run, found) for run, found in _tried(forecasts)]
    return Table("Forecasts", columns, rows, NOTES, "No loss was forecast.")


def _row(tested: TestedForecast, name: str) -> Row:
    raw = tested.raw
    cells = {
        "run": Cell(name, name, {"name": tested.run.name}, tip=tested.run.name),
        "parameters": Cell(short(raw["parameters"]), raw["parameters"]),
        "tokens": Cell(short(raw["tokens"]), raw["tokens"]),
        "times_compute": Cell(f"{decimal(tested.times_compute, 1)} times", tested.times_compute),
        "law": missing_cell(raw["reason"] or ""),
        "forecast": missing_cell(raw["reason"] or ""),
        "measured": missing_cell(tested.run.summary["outcome"]),
        "made": Cell(raw["made"].partition("T")[0], raw["made"], {"commit": raw["commit"]}, tip=raw["made"]),
    }
    if raw["loss"] is not None:
        cells["law"] = Cell(raw["law"], raw["law"], raw["fit"])
        cells |= _compared(raw["loss"], raw["low"], raw["high"], tested.measured)
    elif tested.measured is not None:
        cells["measured"] = Cell(decimal(tested.measured), tested.measured)
    return Row(cells)


def _trial_row(run: Trained, found: Forecast | str) -> Row:
    name = f"{short(run.parameters)} parameters"
    cells = {
        "run": Cell(name, name),
        "parameters": Cell(short(run.parameters), run.parameters),
        "tokens": Cell(short(run.tokens), run.tokens),
        "measured": Cell(decimal(run.loss), run.loss),
    }
    if isinstance(found, str):
        return Row({**cells, "forecast": missing_cell(found)}, LEFT_OUT)
    law = {"law": Cell(found.law, found.law, dict(found.fit))}
    return Row({**cells, **law, **_compared(found.loss, found.low, found.high, run.loss)}, LEFT_OUT)


def _compared(loss: float, low: float, high: float, measured: float | None) -> dict[str, Cell]:
    interval = f"[{decimal(low)}, {decimal(high)}]"
    cells = {"forecast": Cell(decimal(loss), loss, {"low": low, "high": high}, detail=interval)}
    if measured is not None:
        inside = low <= measured <= high
        cells |= {
            "measured": Cell(decimal(measured), measured),
            "error": Cell(change_of_ratio(measured / loss), measured / loss - 1),
            "inside": Cell("yes" if inside else "no", str(inside).lower(), kind="good" if inside else "bad"),
        }
    return cells


def _panel(axes: Axes, runs: Sequence[Trained], forecasts: Sequence[TestedForecast]) -> None:
    sizes = sorted({run.parameters for run in runs} | {each.raw["parameters"] for each in forecasts})
    colours = style.assign_colours([str(size) for size in sizes])
    law = next((ChinchillaLaw(**each.raw["fit"]) for each in forecasts if each.raw["law"] == BY_SIZE_AND_TOKENS), None)
    for size in sizes:
        own = [run for run in runs if run.parameters == size]
        tokens = [*(run.tokens for run in own), *(f.raw["tokens"] for f in forecasts if f.raw["parameters"] == size)]
        colour = colours[str(size)]
        if law:
            span = np.geomspace(min(tokens) / 1.5, max(tokens) * 1.5, 40)
            fitted = [law.loss(size, count) for count in span]
            axes.plot(6 * size * span, fitted, color=colour, linewidth=0.9, linestyle=(0, (5, 3)))
        name = f"{short(size)} parameters"
        if own:
            compute = [6 * size * run.tokens for run in own]
            axes.scatter(compute, [run.loss for run in own], s=36, color=colour, label=name, zorder=3)
    for each in forecasts:
        _draw_forecast(axes, each, colours[str(each.raw["parameters"])])
    if law:
        axes.plot([], [], color=style.FAINT, linewidth=0.9, linestyle=(0, (5, 3)), label="fitted law")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: scientific(value)))
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    step = next((step for step in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0) if (high - low) / step <= 8), 5.0)
    axes.set_yticks([step * count for count in range(math.ceil(low / step), math.floor(high / step) + 1)])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_forecast(axes: Axes, tested: TestedForecast, colour: str) -> None:
    raw = tested.raw
    compute = 6 * raw["parameters"] * raw["tokens"]
    ends = [[raw["loss"] - raw["low"]], [raw["high"] - raw["loss"]]]
    name = f"{short(raw['parameters'])}"
    bar = {"fmt": "D", "markersize": 7, "markerfacecolor": "white", "capsize": 4, "zorder": 4}
    axes.errorbar([compute], [raw["loss"]], yerr=ends, color=colour, label=f"{name}: forecast, 95 %", **bar)
    if tested.measured is not None:
        axes.scatter([compute], [tested.measured], s=130, marker="*", color=colour, label=f"{name}: measured", zorder=5)
