"""Loss against the learning rate or the batch, and where it is lowest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from trainyard.config.study import Study
from trainyard.report.render import style
from trainyard.report.render.format import decimal, join_words, plural, scientific, tick
from trainyard.report.render.html import Cell, Column, Raw, Row, Table, missing_cell, write_table
from trainyard.report.results.runs import Run, distinguishing_coordinates, label, read_runs
from trainyard.report.results.sweeps import FEWEST_VALUES, find_sweeps
from trainyard.report.statistics.parabola import Minimum, find_minimum
from trainyard.report.statistics.study import Evidence

TITLES = {"learning_rate": "learning rate", "batch": "batch, sequences", "batch_tokens": "batch, tokens"}
NOTES = [
    "Runs of one row differ in the setting and in their seeds alone. The lowest loss is that of a parabola in the "
    "setting's logarithm; its interval (95 %) holds the places whose best parabola is not worse by an F test. Three "
    "runs leave no interval.",
    "Where the lowest loss lies at an end of the values tried, nothing says how far beyond it the best one is.",
]


@dataclass(frozen=True)
class TriedSetting:
    """One sweep, with what its runs came to.

    Attributes:
        setting: which.
        label: what tells its runs from those of the other sweeps.
        values: of the runs that came to a loss.
        losses: their last validation losses, nats per token.
        failed: values of those that came to none, with their outcome.
        minimum: where the loss is lowest; None where the runs don't tell.
    """

    setting: str
    label: str
    values: list[float]
    losses: list[float]
    failed: list[tuple[float, str]]
    minimum: Minimum | None

    @property
    def best(self) -> tuple[float, float]:
        """The value of the lowest mean over seeds, and that."""
        means = {each: fmean(self._of(each)) for each in self.values}
        value = min(means, key=means.__getitem__)
        return value, means[value]

    @property
    def why_no_minimum(self) -> str:
        """In a few words."""
        tried = [*self.values, *(value for value, _ in self.failed)]
        if len(set(self.values)) < FEWEST_VALUES:
            return f"fewer than {FEWEST_VALUES} values came to a loss"
        if self.best[0] in (min(tried), max(tried)):
            return "at an end of the values tried"
        return "the losses are on no parabola that bends upwards among the values"

    def _of(self, value: float) -> list[float]:
        return [loss for each, loss in zip(self.values, self.losses, strict=True) if each == value]


def gather_sweeps(runs: Sequence[Run]) -> list[TriedSetting]:
    """The sweeps of a study whose runs came to losses."""
    sweeps = find_sweeps([run.specification for run in runs])
    firsts = [runs[sweep.places[0]] for sweep in sweeps]
    names = [name for name in distinguishing_coordinates(firsts) if name not in ("recipe", "seed")] or ["model"]
    tried = []
    for sweep, first in zip(sweeps, firsts, strict=True):
        pairs, failed = [], []
        for place, value in zip(sweep.places, sweep.values, strict=True):
            loss = runs[place].summary["validation_loss"]
            if runs[place].finished and loss is not None and math.isfinite(loss):
                pairs.append((value, loss))
            else:
                failed.append((value, runs[place].summary["outcome"]))
        if pairs:
            values, losses = ([pair[part] for pair in sorted(pairs)] for part in (0, 1))
            minimum = find_minimum(values, losses)
            tried.append(TriedSetting(sweep.setting, label(first, names), values, losses, sorted(failed), minimum))
    return tried


def draw(study: Study, *, runs: Sequence[Path], output: Path) -> None:
    """Draw loss against each swept setting, a line for each sweep, with the parabola and its lowest point.

    Args:
        study: gives the title.
        runs: folders with spec.json and summary.json.
        output: the SVG.
    """
    tried = gather_sweeps(read_runs(runs))
    if not tried:
        style.draw_empty(output, f"No sweep of “{study.title}” came to a loss.")
        return
    settings = list(dict.fromkeys(each.setting for each in tried))
    with style.figure(output, height=4.4 * len(settings)) as drawing:
        for row, setting in enumerate(settings):
            part = 1 / len(settings)
            axes = drawing.add_axes((0.075, 1 - (row + 1) * part + 0.14 * part, 0.66, 0.76 * part))
            own = [each for each in tried if each.setting == setting]
            colours = style.assign_colours([each.label for each in own])
            for each in own:
                colour = colours[each.label]
                axes.plot(each.values, each.losses, "o", color=colour, markersize=5, label=each.label)
                if each.minimum:
                    span = np.geomspace(min(each.values), max(each.values), 60)
                    axes.plot(span, [each.minimum.loss(x) for x in span], color=colour, linewidth=1)
                    axes.plot([each.minimum.at], [each.minimum.height], "D", color=colour, markerfacecolor="white")
            axes.set(xscale="log", xlabel=TITLES[setting], ylabel="loss, nats per token")
            _label_values(axes, setting, sorted({value for each in own for value in each.values}))
            axes.set_title(f"Validation loss against {TITLES[setting].partition(',')[0]}")
            axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))


def _label_values(axes: Axes, setting: str, values: Sequence[float]) -> None:
    """Round numbers that are spread over the axis: 1, 2 and 5 of each power of ten."""
    powers = range(math.floor(math.log10(values[0])), math.ceil(math.log10(values[-1])) + 1)
    marks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    axes.set_xticks([mark for mark in marks if 0.8 * values[0] <= mark <= 1.25 * values[-1]])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _value(setting, value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def tabulate(study: Study, *, runs: Sequence[Path], table: Path, numbers: Path) -> None:
    """Write each sweep's lowest loss as HTML and CSV.

    Args:
        study: gives the title.
        runs: folders with spec.json and summary.json.
        table: the HTML page.
        numbers: the CSV.
    """
    write_table(_table(gather_sweeps(read_runs(runs))), study.title, table, numbers)


def describe_sweeps(evidence: Evidence) -> list[str]:
    """Where the loss is lowest along each setting that was swept."""
    return [_describe(each) for each in gather_sweeps(evidence.runs)]


def _describe(tried: TriedSetting) -> str:
    setting, (best, loss) = TITLES[tried.setting].partition(",")[0], tried.best
    failed = join_words([f"{_value(tried.setting, value)} {outcome}" for value, outcome in tried.failed])
    more = f" ({failed})" if failed else ""
    if tried.minimum is None:
        of = f"of {plural(len(tried.values), 'run')}, {decimal(loss)} nats"
        at = f"the {setting} {_value(tried.setting, best)} has the lowest loss"
        return f"{tried.label}: {at} {of}: {tried.why_no_minimum}{more}."
    ends = _interval(tried)
    return (
        f"{tried.label}: loss is lowest at a {setting} of {_value(tried.setting, tried.minimum.at)}"
        f"{f' {ends}' if ends else ''}, {decimal(tried.minimum.height)} nats by a parabola through "
        f"{plural(len(tried.values), 'run')}{more}."
    )


def _value(setting: str, value: float) -> str:
    return scientific(value) if setting == "learning_rate" else tick(round(value))


def _interval(tried: TriedSetting) -> str:
    found = tried.minimum
    if found is None or (found.low is None and found.high is None):
        return ""
    low, high = (None if end is None else _value(tried.setting, end) for end in (found.low, found.high))
    return f"[{low}, {high}]" if low and high else f"[{low} or more]" if low else f"[{high} or less]"


def _table(tried: Sequence[TriedSetting]) -> Table:
    columns = [
        Column("sweep", "runs", text=True),
        Column("setting", "setting", text=True),
        Column("values", "values", text=True),
        Column("best", "best of them"),
        Column("loss", "its loss", tip="last validation loss, nats per token"),
        Column("minimum", "lowest loss at", tip="of a parabola in the logarithm"),
        Column("height", "loss there", tip="nats per token"),
    ]
    return Table("Sweeps", columns, [_row(each) for each in tried], NOTES, "No sweep came to a loss.")


def _row(tried: TriedSetting) -> Row:
    best, loss = tried.best
    failed = "; ".join(f"{_value(tried.setting, value)}: {outcome}" for value, outcome in tried.failed)
    listed = ", ".join(_value(tried.setting, value) for value in dict.fromkeys(tried.values))
    cells = {
        "sweep": Cell(tried.label, tried.label),
        "setting": Cell(TITLES[tried.setting], tried.setting),
        "values": Cell(listed, listed, detail=failed),
        "best": Cell(_value(tried.setting, best), best),
        "loss": Cell(decimal(loss), loss),
        "minimum": missing_cell("" if tried.minimum else tried.why_no_minimum),
        "height": missing_cell(),
    }
    if found := tried.minimum:
        ends: dict[str, Raw] = {"low": found.low, "high": found.high}
        cells["minimum"] = Cell(_value(tried.setting, found.at), found.at, ends, detail=_interval(tried))
        cells["height"] = Cell(decimal(found.height), found.height)
    return Row(cells)
