"""Four-way endings by level of difficulty, beside chance and the shortcuts that need no understanding."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from trainyard.config.study import Study
from trainyard.report import style
from trainyard.report.comparison import score_cell
from trainyard.report.format import clip, fixed
from trainyard.report.html import Cell, Column, Row, Table, write_table
from trainyard.report.results import (
    CHANCE,
    Evaluation,
    Run,
    Score,
    as_score,
    difference,
    model_labels,
    read_all,
    read_evaluations,
    read_runs,
)

ALL = "all items"
DRAWN = 6
MARKS = "svD^vP*X"


@dataclass(frozen=True)
class Scored:
    """One model, or one shortcut, on one set of items."""

    name: str
    title: str
    levels: dict[str, tuple[int, Score]]


@dataclass(frozen=True)
class Items:
    """One set of items under one protocol, with all that was scored on it.

    Attributes:
        title: dataset, split, protocol and shots.
        chance: what guessing scores.
        levels: `all items`, then the levels from easy to hard.
        models: from best to worst.
        shortcuts: baselines that read no story.
    """

    title: str
    chance: float
    levels: list[str]
    models: list[Scored]
    shortcuts: list[Scored]


def gather(runs: Sequence[Run], evaluations: Sequence[Evaluation], shortcuts: Sequence[dict[str, Any]]) -> list[Items]:
    """Bring models and shortcuts on the same items together.

    Args:
        runs: give the models their labels.
        evaluations: any evaluations; those of other metrics are left out.
        shortcuts: shortcuts/*.json.
    """
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        if evaluation.metric == "hellaswag" and evaluation.scores:
            groups.setdefault(evaluation.raw["evaluation"], []).append(evaluation)
    return [_items(group, model_labels(runs, group), shortcuts) for group in groups.values()]


def beaten(model: Scored, items: Items, level: str) -> tuple[str, float] | None:
    """The best of chance and the shortcuts on a level, and how many standard errors the model lies above it.

    None where the error is unknown.
    """
    rivals = [("chance", Score(items.chance))]
    rivals += [
        (f"the shortcut “{rival.title}”", rival.levels[level][1]) for rival in items.shortcuts if level in rival.levels
    ]
    name, best = max(rivals, key=lambda rival: rival[1].value)
    above = difference(model.levels[level][1], best)
    return None if above is None else (name, above)


def draw(
    study: Study, *, runs: Sequence[Path], evaluations: Sequence[Path], shortcuts: Sequence[Path], output: Path
) -> None:
    """Draw accuracy by level with 95 % intervals: bars for models, marks for shortcuts, a line for chance.

    Args:
        study: whose evaluations they are.
        runs: folders with spec.json and summary.json, for the labels.
        evaluations: evaluation files; those of other metrics are left out.
        shortcuts: shortcuts/*.json.
        output: the SVG.
    """
    groups = gather(read_runs(runs), read_evaluations(evaluations), read_all(shortcuts))
    if not groups:
        style.empty(output, f"No model of “{study.title}” was scored on endings.")
        return
    with style.figure(output, height=3.9 * len(groups)) as drawing:
        panels = drawing.subplots(len(groups), 1, squeeze=False)[:, 0]
        drawing.subplots_adjust(
            left=0.065, right=0.73, top=1 - 0.45 / (3.9 * len(groups)), bottom=0.55 / (3.9 * len(groups)), hspace=0.38
        )
        for axes, items in zip(panels, groups, strict=True):
            _panel(axes, items)


def tabulate(
    study: Study,
    *,
    runs: Sequence[Path],
    evaluations: Sequence[Path],
    shortcuts: Sequence[Path],
    table: Path,
    numbers: Path,
) -> None:
    """Write accuracy by level as HTML and CSV, models and shortcuts.

    Args:
        study: gives the title.
        runs: folders with spec.json and summary.json, for the labels.
        evaluations: evaluation files; those of other metrics are left out.
        shortcuts: shortcuts/*.json.
        table: the HTML page.
        numbers: the CSV.
    """
    groups = gather(read_runs(runs), read_evaluations(evaluations), read_all(shortcuts))
    levels = list(dict.fromkeys(level for items in groups for level in items.levels))
    rows = [row for items in groups for row in _rows(items)]
    columns = [Column("model", "model", text=True), Column("items", "items", text=True)]
    columns += [Column(level, level, "accuracy, %", "high") for level in levels]
    notes = [
        "± is one standard error. Bold is the best model; a dotted line marks what lies within two combined "
        "standard errors of it. Point at a value for n and its distance from the best shortcut."
    ]
    write_table(Table("Scores by level", columns, rows, notes, "Nothing was scored."), study.title, table, numbers)


def _items(group: Sequence[Evaluation], labels: Sequence[str], shortcuts: Sequence[dict[str, Any]]) -> Items:
    first = group[0]
    own = next((found for found in shortcuts if found["dataset"] == first.raw["dataset"]), None)
    baselines = own["baselines"] if own else {}
    models = []
    for evaluation, title in zip(group, labels, strict=True):
        levels = {ALL: (evaluation.raw["n"], evaluation.scores["acc"])}
        levels |= {name: (found["n"], as_score(found["acc"])) for name, found in evaluation.levels.items()}
        models.append(Scored(evaluation.run, title, levels))
    rivals = []
    for name, found in baselines.items():
        levels = {ALL: (own["n"] if own else 0, as_score(found["acc"]))}
        levels |= {level: (value["n"], as_score(value)) for level, value in found["levels"].items()}
        rivals.append(Scored(name, found["title"], levels))
    known = [level for baseline in baselines.values() for level in baseline["levels"]]
    known += [level for model in models for level in model.levels if level != ALL]
    return Items(
        title=first.title,
        chance=own["chance"]["value"] if own else CHANCE,
        levels=[ALL, *(level for level in dict.fromkeys(known) if any(level in model.levels for model in models))],
        models=sorted(models, key=lambda model: -model.levels[ALL][1].value),
        shortcuts=rivals,
    )


def _panel(axes: Axes, items: Items) -> None:
    models = items.models[:DRAWN]
    palette = style.colours([model.title for model in models])
    width = min(0.22, 0.8 / (len(models) + 1))
    for index, model in enumerate(models):
        places, values, below, above = [], [], [], []
        for place, level in enumerate(items.levels):
            if level in model.levels:
                value = model.levels[level][1]
                low, high = value.interval
                places.append(place + width * (index - len(models) / 2))
                values.append(100 * value.value)
                below.append(100 * (value.value - low))
                above.append(100 * (high - value.value))
        bars = {"yerr": (below, above), "error_kw": {"ecolor": style.INK, "elinewidth": 1.1, "capsize": 2.5}}
        axes.bar(
            places, values, width * 0.92, color=palette[model.title], label=clip(model.title, 30), zorder=2, **bars
        )
        for place, value, up in zip(places, values, above, strict=True):
            axes.text(place, value + up + 1.5, f"{value:.0f}", ha="center", fontsize=9, color=style.FAINT)
    for index, rival in enumerate(items.shortcuts):
        shown = [(place, rival.levels[level][1]) for place, level in enumerate(items.levels) if level in rival.levels]
        offset = width * len(models) / 2 + (index - (len(items.shortcuts) - 1) / 2) * 0.05
        axes.errorbar(
            [place + offset for place, _ in shown],
            [100 * value.value for _, value in shown],
            yerr=[196 * (value.error or 0.0) for _, value in shown],
            fmt=MARKS[index % len(MARKS)],
            color="#4b5563",
            markerfacecolor="white",
            markersize=5,
            elinewidth=0.9,
            zorder=3,
            label=f"shortcut: {clip(rival.title, 24)}",
        )
    axes.axhline(100 * items.chance, color=style.INK, linewidth=1.2, linestyle=(0, (5, 4)), label="chance", zorder=1)
    sizes = [next(model.levels[level][0] for model in models if level in model.levels) for level in items.levels]
    axes.set_xticks(
        range(len(items.levels)), [f"{level}\nn = {n:,}" for level, n in zip(items.levels, sizes, strict=True)]
    )
    axes.set(title=clip(items.title, 70), ylabel="accuracy, %", ylim=(0, 108))
    axes.set_xlim(-0.6, max(len(items.levels) - 0.4, 1.2))
    axes.grid(False, axis="x")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    if len(items.models) > DRAWN:
        axes.text(
            1.02, 0.02, f"best {DRAWN} of {len(items.models)} models", transform=axes.transAxes, color=style.FAINT
        )


def _rows(items: Items) -> list[Row]:
    rows = []
    for scored, section in [(model, "") for model in items.models] + [
        (rival, "Shortcuts") for rival in items.shortcuts
    ]:
        cells = {
            "model": Cell(scored.title, scored.title, {"name": scored.name}),
            "items": Cell(items.title, items.title),
        }
        for level, (n, value) in scored.levels.items():
            tip = f"n = {n:,}"
            above = None if section else beaten(scored, items, level)
            if above:
                tip += f"; {fixed(above[1], 1)} standard errors above {above[0]}"
            cells[level] = score_cell("acc", value, rivals=items.title, tip=tip, n=n)
        rows.append(Row(cells, section))
    chance = {level: Cell(fixed(100 * items.chance, 1), items.chance) for level in items.levels}
    rows.append(
        Row({"model": Cell("chance", "chance"), "items": Cell(items.title, items.title), **chance}, "Shortcuts")
    )
    return rows
