"""Four-way endings by level of difficulty, beside chance and the shortcuts that need no understanding."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.axes import Axes

from trainyard.config.study import Study
from trainyard.core.statistics import Score
from trainyard.metrics import Metric
from trainyard.report.pages.cells import score_cell
from trainyard.report.pages.verdicts import describe_near_best, describe_second, describe_seeds
from trainyard.report.render import style
from trainyard.report.render.format import decimal, join_words, percent, plural, truncate
from trainyard.report.render.html import Cell, Column, Row, Table, write_table
from trainyard.report.results.runs import read_evaluations, read_runs
from trainyard.report.results.shortcuts import read_shortcuts
from trainyard.report.statistics.levels import (
    ALL,
    Comparison,
    Items,
    Scored,
    compare_with_chance,
    find_headline,
    gather,
    hardest_rival,
    is_below_chance,
    is_guessing,
)
from trainyard.report.statistics.paired_tests import PairedTest, compare_paired
from trainyard.report.statistics.pairwise import (
    LEAST,
    SIGNIFICANT,
    WITHIN,
    compare_family,
    describe_p_value,
    describe_pair,
    format_difference,
)
from trainyard.report.statistics.selection import correct_for_choice, describe_choice
from trainyard.report.statistics.study import Evidence, rank_evaluations

DRAWN = 6
TALL = 4.2  # inches of a set of items
SLOT = 0.3  # of a level's width: where the shortcuts are
MARKS = "sovD^P*X"


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
    groups = gather(read_runs(runs), read_evaluations(evaluations), read_shortcuts(shortcuts))
    if not groups:
        style.draw_empty(output, f"No model of “{study.title}” was scored on endings.")
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
    groups = gather(read_runs(runs), read_evaluations(evaluations), read_shortcuts(shortcuts))
    levels = list(dict.fromkeys(level for items in groups for level in items.levels))
    rows = [row for items in groups for row in _rows(items)]
    columns = [Column("model", "model", text=True), Column("items", "items", text=True, shown=len(groups) > 1)]
    columns += [Column(level, level, "accuracy, %", "high") for level in levels]
    notes = [
        "± is one standard error, [a, b] a 95 % interval. Bold is the best model; a dotted line marks what is within "
        "noise of it by McNemar's exact test on the items of the level, corrected by Holm for the tests of the column, "
        "or, without such a test, within two combined standard errors. Hover over a value for n, for its difference "
        "from the best, and for its difference from chance or the shortcut that is hardest to beat.",
        "“Chance” marks what the exact binomial test can't tell from guessing. “Below chance”, by the same test "
        "corrected for all models and levels: guessing would be right more often, so a shortcut learned on the way "
        "answers such items wrongly.",
    ]
    title = "Scores by level" if len(groups) != 1 else f"Scores by level: {groups[0].title}"
    write_table(Table(title, columns, rows, notes, "Nothing was scored."), study.title, table, numbers)


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
        marks = [
            (position, rival.levels[level][1]) for position, level in enumerate(items.levels) if level in rival.levels
        ]
        axes.errorbar(
            [position + left + width * len(models) + step * (index + 1) for position, _ in marks],
            [100 * value.value for _, value in marks],
            yerr=[[100 * value.error_bar[side] for _, value in marks] for side in (0, 1)],
            fmt=MARKS[index % len(MARKS)],
            color="#4b5563",
            markerfacecolor="white",
            markeredgewidth=0.9,
            markersize=3.6,
            elinewidth=0.8,
            zorder=3,
            label=f"shortcut: {truncate(rival.title, 24)}",
        )
    axes.axhline(100 * items.chance, color=style.INK, linewidth=1.2, linestyle=(0, (5, 4)), label="chance", zorder=2.5)
    below = {level for level in items.levels if any(is_below_chance(model, items, level) for model in models)}
    names = []
    for level in items.levels:
        n = next(model.levels[level][0] for model in models if level in model.levels)
        names.append(f"{level}\nn = {n:,}" + ("\n(below chance)" if level in below else ""))
    axes.set_xticks(range(len(items.levels)), names)
    axes.set(title=truncate(items.title, 70), ylabel="accuracy, %", ylim=(0, 112), yticks=range(0, 101, 20))
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
    for index, level in enumerate(items.levels):
        if level not in model.levels:
            continue
        value = model.levels[level][1]
        title = truncate(model.title, 30) if level == ALL else None
        bars = {}
        if value.interval:
            errors = [[100 * length] for length in value.error_bar]
            bars = {"yerr": errors, "error_kw": {"ecolor": style.INK, "elinewidth": 1.1, "capsize": 2.5}}
        axes.bar([index + offset], [100 * value.value], width * 0.92, color=colour, label=title, zorder=2, **bars)
        if numbers:
            top = 100 * (value.value + value.error_bar[1]) + 1.5
            axes.text(index + offset, top, f"{100 * value.value:.0f}", ha="center", fontsize=9, color=style.FAINT)


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
            above = None if section else hardest_rival(scored, items, level)
            if above:
                tip += f"; against {above.rival}: {_difference(items, above.test)}, {describe_p_value(above.test.p)}"
            remark = "chance" if not section and is_guessing(value, n, items.chance) else ""
            if not section and is_below_chance(scored, items, level):
                remark = "below chance"
                test = compare_with_chance(value, n, items.chance)
                tip = f"n = {n:,}; against chance: {_difference(items, test)}, {describe_p_value(test.p)}"
            # what is no better than guessing doesn't compete
            rivals = f"{items.title}/{scored.name}" if remark else items.title
            cells[level] = score_cell(items.score, value, rivals=rivals, tip=tip, remark=remark, n=n)
        rows.append(Row(cells, section))
    for level in items.levels:
        _compare_with_best(items, rows, level)
    chance = {level: Cell(decimal(100 * items.chance, 1), items.chance) for level in items.levels}
    rows.append(
        Row({"model": Cell("chance", "chance"), "items": Cell(items.title, items.title), **chance}, "Shortcuts")
    )
    return rows


def _compare_with_best(items: Items, rows: Sequence[Row], level: str) -> None:
    """Let each model's accuracy on a level say whether McNemar's test can tell it from the best one."""
    rivals = [
        (model, model.evaluation, row.cells)
        for model, row in zip(items.models, rows, strict=False)
        if level in model.levels and model.evaluation and row.cells[level].rivals == row.cells["items"].text
    ]
    rivals.sort(key=lambda rival: -rival[0].levels[level][1].value)
    evaluations = [evaluation for _, evaluation, _ in rivals]
    name = "" if level == ALL else level
    pairs = compare_family(
        range(len(rivals)), lambda one, other: compare_paired(evaluations[one], evaluations[other], items.score, name)
    )
    for pair in pairs:
        if pair.first == 0:
            cells = rivals[pair.second][2]
            noise = None if pair.p is None else pair.verdict == WITHIN
            tip = f"{rivals[0][0].title} against this: {describe_pair(items.score, pair)}\n{cells[level].tip}"
            cells[level] = replace(cells[level], noise=noise, tip=tip)


MOST = 12


def describe_endings(metric: Metric, evidence: Evidence) -> list[str]:
    """The best model against chance and shortcuts, by level, and how far the second lies below it."""
    name = metric.told[0]
    sentences = describe_seeds(evidence, (name,))
    own = [evaluation for evaluation in evidence.evaluations if evaluation.metric == metric.key]
    groups = rank_evaluations(evidence, metric, name)
    for items, group in zip(gather(evidence.runs, own, evidence.shortcuts), groups, strict=True):
        head = find_headline(evidence.runs, items)
        best = items.models[head.place]
        seeds = f", the middle one of its {len(head.values)} seeds," if len(head.values) > 1 else ""
        n, value = best.levels[ALL]
        text = f"{best.title}{seeds} is right in {_share(value)} of {plural(n, 'item')} ({items.title}"
        if interval := correct_for_choice(value, name, n, head.among).interval:
            low, high = (decimal(100 * end, 1) for end in interval)
            text += f"; 95 % interval {low} to {high}{describe_choice(head.among)}"
        text += ")"
        if above := hardest_rival(best, items, ALL, head.among):
            text += f", {_verdict(above)} {above.rival}{_hardest(items, above)}: {_difference(items, above.test)}, "
            text += f"{describe_p_value(above.test.p)}{describe_choice(head.among)}"
        sentences.append(f"{text}.")
        if above and above.untested:
            reasons = join_words(list(dict.fromkeys(above.untested.values())))
            sentences.append(f"Not tested against {join_words(list(above.untested))}: {truncate(reasons, 160)}.")
        sentences += _by_level(best, items, head.among)
        if len(items.models) > 1 and not head.several:
            second = _share(items.models[1].levels[ALL][1])
            sentences.append(f"Second is {items.models[1].title} with {second}, {describe_second(group, name)}.")
            if near := describe_near_best(group, name):
                sentences.append(f"Within noise of the best too: {join_words(near[:MOST])}.")
        sentences += _describe_misled(items)
        guessing = [
            model.title
            for model, (n, value) in ((model, model.levels[ALL]) for model in items.models)
            if is_guessing(value, n, items.chance)
        ]
        if guessing:
            sentences.append(f"Within noise of chance: {join_words(guessing[:MOST])}.")
    return sentences


def _describe_misled(items: Items) -> list[str]:
    """Where models do worse than guessing: they follow a rule that is wrong there."""
    sentences = []
    for level in items.levels[1:] or items.levels:
        below = [model for model in items.models if is_below_chance(model, items, level)]
        if below:
            names = [f"{model.title} ({_share(model.levels[level][1])})" for model in below[:MOST]]
            places = [model.levels[level] for model in below]
            more = f" and {len(below) - MOST} more" if len(below) > MOST else ""
            tests = len(items.models) * len(items.levels)
            least = max(min(1.0, tests * compare_with_chance(value, n, items.chance).p) for n, value in places)
            each = "each " if len(below) > 1 else ""
            less = " or less" if len(below) > 1 and least >= LEAST else ""
            sentences.append(
                f"Below chance on {level}: {join_words(names)}{more}; {each}{describe_p_value(least)}{less}, corrected "
                f"for {tests} tests. Guessing would be right more often: a shortcut learned on the way answers these "
                "items wrongly."
            )
    return sentences


def _share(value: Score) -> str:
    if not value.error and value.interval:  # all items agree
        low, high = (decimal(100 * end, 1) for end in value.interval)
        return f"{decimal(100 * value.value, 1)} % [{low}, {high}]"
    return percent(value.value, value.error)


def _hardest(items: Items, above: Comparison) -> str:
    if len(above.untested) < len(items.shortcuts):
        return ", the hardest to beat of chance and shortcuts"
    return ""


def _difference(items: Items, test: PairedTest) -> str:
    return " ".join(format_difference(items.score, test))


def _verdict(against: Comparison) -> str:
    if against.test.p >= SIGNIFICANT:
        return "within noise of"
    return "better than" if against.is_won else "worse than"


def _by_level(model: Scored, items: Items, among: int) -> list[str]:
    """On which levels the best of so many beats chance and each shortcut."""
    won, lost, untested = [], [], {}
    tests = among * len(items.levels[1:])
    for level in items.levels[1:]:
        if level not in model.levels:
            continue
        above = hardest_rival(model, items, level, tests)
        if above is not None:
            untested |= above.untested
            text = f"{level} ({_share(model.levels[level][1])})"
            if above.is_won:
                won.append(text)
            elif not is_below_chance(model, items, level):
                lost.append(text)
    sentences = []
    tested = "each tested shortcut" if untested else "each shortcut"
    rivals = f" and {tested}" if len(untested) < len(items.shortcuts) else ""
    if won:
        sentences.append(
            f"By level it beats chance{rivals} on {join_words(won)}; each p is below {SIGNIFICANT}, "
            f"corrected for {tests} tests."
        )
    if lost:
        does_not = "It does not" if won else f"By level it does not beat chance{rivals}"
        sentences.append(f"{does_not} on {join_words(lost)}.")
    return sentences
