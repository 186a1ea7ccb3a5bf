"""Four-way endings by level of difficulty, beside chance and the shortcuts that need no understanding."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from trainyard.config.study import Study
from trainyard.report import style
from trainyard.report.cells import score_cell
from trainyard.report.format import clip, fixed
from trainyard.report.html import Cell, Column, Row, Table, write_table
from trainyard.report.results import (
    CHANCE,
    Evaluation,
    Run,
    Score,
    as_score,
    below_chance,
    difference,
    guesses,
    model_labels,
    read_all,
    read_evaluations,
    read_runs,
)

ALL = "all items"
DRAWN = 6
TALL = 4.2  # inches of a set of items
SLOT = 0.3  # of a level's width: where the shortcuts stand
MARKS = "sovD^P*X"
CLEAR = 3.0  # standard errors from chance or a shortcut: more is no accident


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


def misled(model: Scored, items: Items, level: str) -> float | None:
    """By how many standard errors a model does worse than guessing, if by three or more.

    Guessing would be right more often, so it follows a rule that answers such items wrongly.
    """
    if level not in model.levels:
        return None
    n, value = model.levels[level]
    below = below_chance(value, n, items.chance)
    return below if below is not None and below >= CLEAR else None


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
    height = TALL * len(groups)
    with style.figure(output, height=height) as drawing:
        panels = drawing.subplots(len(groups), 1, squeeze=False)[:, 0]
        drawing.subplots_adjust(left=0.065, right=0.74, top=1 - 0.45 / height, bottom=0.85 / height, hspace=0.42)
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
    columns = [Column("model", "model", text=True), Column("items", "items", text=True, shown=len(groups) > 1)]
    columns += [Column(level, level, "accuracy, %", "high") for level in levels]
    notes = [
        "± is one standard error. Bold is the best model; a dotted line marks what lies within two combined "
        "standard errors of it. Point at a value for n and its distance from the best shortcut.",
        "“Chance” marks what lies within two errors of guessing. “Below chance”, by three errors or more: guessing "
        "would be right more often, so a shortcut learned on the way answers such items wrongly.",
    ]
    title = "Scores by level" if len(groups) != 1 else f"Scores by level: {groups[0].title}"
    write_table(Table(title, columns, rows, notes, "Nothing was scored."), study.title, table, numbers)


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
    slot = SLOT if items.shortcuts else 0.0
    width = min(0.22, (0.86 - slot) / len(models))
    left = -(width * len(models) + slot) / 2
    for index, model in enumerate(models):
        offset = left + width * (index + 0.5)
        _bars(axes, items, model, offset, width, style.PALETTE[index], numbers=len(models) <= 4)
    step = slot / (len(items.shortcuts) + 1)
    for index, rival in enumerate(items.shortcuts):
        shown = [(place, rival.levels[level][1]) for place, level in enumerate(items.levels) if level in rival.levels]
        axes.errorbar(
            [place + left + width * len(models) + step * (index + 1) for place, _ in shown],
            [100 * value.value for _, value in shown],
            yerr=[196 * (value.error or 0.0) for _, value in shown],
            fmt=MARKS[index % len(MARKS)],
            color="#4b5563",
            markerfacecolor="white",
            markeredgewidth=0.9,
            markersize=3.6,
            elinewidth=0.8,
            zorder=3,
            label=f"shortcut: {clip(rival.title, 24)}",
        )
    axes.axhline(100 * items.chance, color=style.INK, linewidth=1.2, linestyle=(0, (5, 4)), label="chance", zorder=2.5)
    below = {level for level in items.levels if any(misled(model, items, level) for model in models)}
    names = []
    for level in items.levels:
        n = next(model.levels[level][0] for model in models if level in model.levels)
        names.append(f"{level}\nn = {n:,}" + ("\n(below chance)" if level in below else ""))
    axes.set_xticks(range(len(items.levels)), names)
    axes.set(title=clip(items.title, 70), ylabel="accuracy, %", ylim=(0, 112), yticks=range(0, 101, 20))
    axes.set_xlim(-0.6, max(len(items.levels) - 0.4, 1.2))
    axes.grid(False, axis="x")
    axes.legend(loc="upper left", bbox_to_anchor=(1.005, 1.0), fontsize=9.5)
    remarks = [f"best {DRAWN} of {len(items.models)} models"] if len(items.models) > DRAWN else []
    if below:
        remarks += [
            "Below chance: guessing would be right",
            "more often. A shortcut learned on the",
            "way answers these wrongly.",
        ]
    for index, remark in enumerate(reversed(remarks)):
        axes.text(1.025, 0.02 + 0.065 * index, remark, transform=axes.transAxes, color=style.FAINT, fontsize=9)


def _bars(axes: Axes, items: Items, model: Scored, offset: float, width: float, colour: str, numbers: bool) -> None:
    """One model's bar on each level that it was scored on, with its 95 % interval."""
    for place, level in enumerate(items.levels):
        if level not in model.levels:
            continue
        value = model.levels[level][1]
        low, high = value.interval
        errors = ([100 * max(0.0, value.value - low)], [100 * max(0.0, high - value.value)])
        title = clip(model.title, 30) if level == ALL else None
        bars = {"yerr": errors, "error_kw": {"ecolor": style.INK, "elinewidth": 1.1, "capsize": 2.5}}
        axes.bar([place + offset], [100 * value.value], width * 0.92, color=colour, label=title, zorder=2, **bars)
        if numbers:
            axes.text(
                place + offset, 100 * max(high, value.value) + 1.5, f"{100 * value.value:.0f}", ha="center", fontsize=9,
                color=style.FAINT,
            )  # fmt: skip


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
            remark = "chance" if not section and guesses(value, items.chance) else ""
            if not section and (below := misled(scored, items, level)):
                remark = "below chance"
                tip = f"n = {n:,}; {fixed(below, 1)} standard errors of guessing below chance"
            # what is no better than guessing doesn't compete
            rivals = f"{items.title}/{scored.name}" if remark else items.title
            cells[level] = score_cell("acc", value, rivals=rivals, tip=tip, remark=remark, n=n)
        rows.append(Row(cells, section))
    chance = {level: Cell(fixed(100 * items.chance, 1), items.chance) for level in items.levels}
    rows.append(
        Row({"model": Cell("chance", "chance"), "items": Cell(items.title, items.title), **chance}, "Shortcuts")
    )
    return rows
