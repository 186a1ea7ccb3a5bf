"""Searches over recipes: who copied whom, what each method found, and what it cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from trainyard.config.study import Study
from trainyard.config.tune import Range
from trainyard.report.pages.cells import outcome_cell
from trainyard.report.render import style
from trainyard.report.render.format import TITLES, decimal, join_words, plural, short, tick, truncate
from trainyard.report.render.html import Cell, Column, Row, Table, missing_cell, write_table
from trainyard.report.results.runs import read_runs
from trainyard.report.results.searches import Member, Search, read_recipe_searches
from trainyard.report.statistics.pairwise import describe_p_value, format_difference
from trainyard.report.statistics.searches import Better, Comparison, Reached, compare_searches
from trainyard.report.statistics.study import Evidence

Show = Literal["lineage", "budget"]
MOST_SETTINGS = 3  # panels beside the lineage
TALL = 2.85  # inches of a row of panels
HEAD = 0.6  # inches above all
EMPTY = "This study has no search over recipes."
AXES = {"tokens": "predicted tokens of all members", "hours": "device hours of all members"}


def draw(
    study: Study,
    *,
    runs: Sequence[Path],
    generations: Sequence[Path],
    members: Sequence[Path],
    show: Show,
    output: Path,
) -> None:
    """Draw the searches of a study.

    `lineage`: a row for each search. On the left a line a slot, with an arrow where it took over another's state, a
    cross where a member failed, and the way to the winner in bold; beside it each searched setting over steps.
    `budget`: a row for each entry of `tune`, with the lowest validation loss so far of each method against the tokens
    and the device hours of all its members.

    Args:
        study: whose searches they are.
        runs: folders of its runs, the winners among them.
        generations: tune/{search}/generation{g}.json.
        members: summary.json of the members.
        show: which of the two.
        output: the SVG.
    """
    searches = read_recipe_searches(study, generations, members, read_runs(runs))
    if not searches:
        style.draw_empty(output, EMPTY)
    elif show == "lineage":
        _draw_lineages(searches, output)
    else:
        _draw_budgets(searches, output)


def _draw_lineages(searches: Sequence[Search], output: Path) -> None:
    columns = 1 + min(MOST_SETTINGS, max(len(search.tune.over) for search in searches))
    height = HEAD + TALL * len(searches)
    with style.figure(output, height=height) as drawing:
        for row, search in enumerate(searches):
            top = height - HEAD - TALL * row
            drawing.text(0.012, (top + 0.1) / height, search.name, fontsize=12, fontweight="bold", va="bottom")
            panels = [_add_panel(drawing, column, columns, top, height) for column in range(columns)]
            _draw_lineage(panels[0], search)
            settings = list(search.tune.over.items())[: columns - 1]
            for panel, (name, values) in zip(panels[1:], settings, strict=False):
                _draw_setting(panel, search, name, values)
            for panel in panels[1 + len(settings) :]:
                panel.set_axis_off()
        handles = [
            Line2D([], [], color=style.INK, linewidth=2.6, label="to the winner"),
            Line2D([], [], color=style.PALETTE[1], marker=">", linewidth=1.2, label="copied, with changed settings"),
            Line2D([], [], color=style.PALETTE[1], marker="x", linestyle="", label="failed"),
        ]
        drawing.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.995, 1.0), ncols=3)


def _add_panel(drawing: Figure, column: int, columns: int, top: float, height: float) -> Axes:
    left, gap = 0.055, 0.075
    width = (0.985 - left - gap * (columns - 1)) / columns
    return drawing.add_axes((left + column * (width + gap), (top - TALL + 0.87) / height, width, (TALL - 1.0) / height))


def _starts(search: Search) -> list[int]:
    return [0, *search.untils[:-1]]


def _draw_lineage(panel: Axes, search: Search) -> None:
    line = search.lineage()
    for number, (generation, start, end) in enumerate(
        zip(search.generations, _starts(search), search.untils, strict=True)
    ):
        for member in generation:
            if member.outcome == "finished":
                bold = bool(line) and member is line[number]
                panel.plot(
                    [start, end],
                    [member.slot] * 2,
                    color=style.INK if bold else style.FAINT,
                    linewidth=2.6 if bold else 1.0,
                    marker=".",
                    markevery=[1],
                    solid_capstyle="butt",
                )
            elif member.trained:
                panel.plot([end], [member.slot], "x", color=style.PALETTE[1])
            if member.copied:
                arrow = {"arrowstyle": "->", "color": style.PALETTE[1], "shrinkA": 0, "shrinkB": 0}
                panel.annotate("", (start, member.slot), (start, member.parent or 0), arrowprops=arrow)
    panel.set(xlabel="optimizer step", ylabel="slot", xlim=(0, 1.02 * search.untils[-1]))
    panel.set_ylim(max(map(len, search.generations)) + 0.6, 0.4)
    panel.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_setting(panel: Axes, search: Search, name: str, values: Range) -> None:
    """The value of a setting in each slot over steps; of choices their place in the list."""
    line = search.lineage()

    def height(member: Member) -> float:
        value = member.hyperparameters[name]
        return values.choice.index(value) if values.choice is not None else value

    slots = max(map(len, search.generations))
    for slot in range(slots):
        parts = [
            (start, end, height(generation[slot]))
            for generation, start, end in zip(search.generations, _starts(search), search.untils, strict=True)
            if slot < len(generation) and generation[slot].outcome == "finished"
        ]
        x = [edge for start, end, _ in parts for edge in (start, end)]
        panel.plot(x, [value for _, _, value in parts for _ in range(2)], color=style.FAINT, linewidth=1.0)
    edges = [edge for pair in zip(_starts(search), search.untils, strict=True) for edge in pair]
    panel.plot(
        edges if line else [], [height(member) for member in line for _ in range(2)], color=style.INK, linewidth=2.6
    )
    panel.set(xlabel="optimizer step", xlim=(0, 1.02 * search.untils[-1]))
    panel.set_title(name, loc="left", fontsize=10)
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if values.choice is not None:
        panel.set_yticks(range(len(values.choice)), [truncate(str(value), 10) for value in values.choice])
    elif values.log is not None:
        panel.set_yscale("log")
        panel.set_ylim(values.log[0] / 1.2, values.log[1] * 1.2)
        panel.yaxis.set_major_locator(LogLocator(numticks=5))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    elif values.linear is not None:
        margin = 0.05 * (values.linear[1] - values.linear[0])
        panel.set_ylim(values.linear[0] - margin, values.linear[1] + margin)


def _draw_budgets(searches: Sequence[Search], output: Path) -> None:
    entries = list(dict.fromkeys(search.tune.name for search in searches))
    colours = style.assign_colours([search.method for search in searches])
    height = HEAD + TALL * len(entries)
    with style.figure(output, height=height) as drawing:
        for row, entry in enumerate(entries):
            top = height - HEAD - TALL * row
            drawing.text(0.012, (top + 0.1) / height, entry, fontsize=12, fontweight="bold", va="bottom")
            for column, (what, title) in enumerate(AXES.items()):
                panel = _add_panel(drawing, column, len(AXES), top, height)
                for search in searches:
                    if search.tune.name == entry:
                        _draw_budget(panel, search, what, colours[search.method])
                panel.set_xlabel(title, fontsize=9.5)
                panel.set_ylabel("lowest validation loss" if column == 0 else "", fontsize=10)
                panel.set_xlim(left=0)
                panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        handles = [Line2D([], [], color=colour, marker=".", label=method) for method, colour in colours.items()]
        drawing.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.995, 1.0), ncols=len(handles))
        style.note(
            drawing, "A dot for each generation. Times were taken while other jobs ran: compare tokens, not hours."
        )


def _draw_budget(panel: Axes, search: Search, what: str, colour: str) -> None:
    points = [
        (spent, loss) for spent, loss in zip(search.spent(what), search.best_losses(), strict=True) if loss is not None
    ]
    if points:
        panel.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=4.5, drawstyle="steps-post")


def tabulate(
    study: Study,
    *,
    runs: Sequence[Path],
    generations: Sequence[Path],
    members: Sequence[Path],
    table: Path,
    numbers: Path,
) -> None:
    """Write every member of every generation with its settings, its parent and its loss as HTML and CSV.

    Args:
        study: whose searches they are.
        runs: folders of its runs.
        generations: tune/{search}/generation{g}.json.
        members: summary.json of the members.
        table: the HTML page.
        numbers: the CSV.
    """
    searches = read_recipe_searches(study, generations, members, read_runs(runs))
    names = list(dict.fromkeys(name for search in searches for name in search.tune.over))
    columns = [
        Column("search", "search", text=True, shown=False),
        Column("generation", "generation"),
        Column("slot", "slot"),
        Column("parent", "begins from", text=True, tip="a slot of the generation before"),
        *(Column(f"setting:{name}", name, "searched settings") for name in names),
        Column("outcome", "outcome", text=True),
        Column("loss", "validation loss", best="low", tip="at the end of the generation, nats per token"),
        Column("tokens", "tokens", tip="predicted in this generation"),
        Column("hours", "device hours", tip="elapsed time x processes, in this generation"),
    ]
    rows = [row for search in searches for row in _rows(search)]
    notes = [
        "“Winner”: the member of the last generation with the lowest validation loss, and those that led to it. Its "
        "loss is the lowest of many, and so too low: scores on the test split are in the comparison of runs.",
        "The time and the tokens of a run in other tables and figures are those of its own training; what a search "
        "cost is the sum of its rows here.",
        "Steps of a member that was killed and resumed count once. Hours were taken while other jobs ran.",
    ]
    write_table(Table("Searches over recipes", columns, rows, notes, EMPTY), study.title, table, numbers)


def _rows(search: Search) -> list[Row]:
    line = search.lineage()
    rows = []
    for number, generation in enumerate(search.generations, 1):
        for member in generation:
            wins = any(member is each for each in line)
            cells = {
                "search": Cell(search.name, search.name),
                "generation": Cell(str(number), number, detail=f"to step {search.untils[number - 1]:,}"),
                "slot": Cell(str(member.slot), member.slot, {"winner": wins}, detail="winner" if wins else ""),
                "parent": _parent_cell(member),
                "outcome": outcome_cell(member.outcome, member.reason),
                "loss": missing_cell(member.reason or "")
                if member.loss is None
                else Cell(decimal(member.loss), member.loss),
                "tokens": Cell(short(member.tokens), member.tokens),
                "hours": Cell(decimal(member.hours, 4), member.hours),
            }
            cells |= {f"setting:{name}": _setting_cell(value) for name, value in member.hyperparameters.items()}
            rows.append(Row(cells, search.name))
    return rows


def _parent_cell(member: Member) -> Cell:
    if member.parent is None:
        return Cell("the start" if member.trained else "nobody", None)
    if member.replaced is None:
        return Cell(f"slot {member.parent}", member.parent, {"copied": False})
    lost = member.replaced
    why = lost["outcome"] if lost["loss"] is None else f"loss {decimal(lost['loss'])}"
    return Cell(
        f"slot {member.parent}", member.parent, {"copied": True}, tip=lost["reason"] or "", detail=f"in place of {why}"
    )


def _setting_cell(value: Any) -> Cell:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Cell(str(value), str(value))
    return Cell(f"{value:.4g}", value)


def describe_searches(evidence: Evidence) -> list[str]:
    """What each search found and spent, and a verdict on each of two claims: that PBT costs less, and finds better."""
    sentences = [_describe_search(search) for search in evidence.tuned]
    for comparison in compare_searches(evidence.tuned, evidence.evaluations, evidence.study.primary):
        sentences += [_describe_cost(comparison), _describe_better(comparison)]
    return sentences


def _describe_search(search: Search) -> str:
    tune, members = search.tune, search.members
    spent = f"{short(search.spent('tokens')[-1])} tokens, {_hours(search.spent('hours')[-1])} device hours"
    sizes = [len(generation) for generation in search.generations]
    size = f"{sizes[0]} members" if len(set(sizes)) == 1 else f"{', '.join(map(str, sizes))} members"
    text = f"{search.name}, {size} in {plural(len(sizes), 'generation')} ({spent})"
    failed = [member.outcome for member in members if member.outcome != "finished" and member.trained]
    if failed:
        kinds = [f"{failed.count(kind)} {kind}" for kind in dict.fromkeys(failed)]
        text += f", of which {join_words(kinds)}"
    if copies := sum(member.copied for member in members):
        text += f", with {'1 copy' if copies == 1 else f'{copies} copies'}"
    if search.best is None:
        return f"{text}: no member has finished ({members[-1].reason})."
    settings = join_words([f"{name} {_setting_cell(search.best.hyperparameters[name]).text}" for name in tune.over])
    return (
        f"{text}: lowest validation loss {decimal(search.best.loss)} after {search.untils[-1]:,} steps, at last with "
        f"{settings}; it is the lowest of {len(search.generations[-1])}, so that only other data tell how good it is."
    )


def _describe_cost(comparison: Comparison) -> str:
    first, second = comparison.first.name, comparison.second.name
    claim = f"“{first} costs less than {second}”"
    reached = comparison.reached
    if reached is None:
        return f"{claim}: not shown, since one of them has no validation loss."
    return f"{claim}: {reached.verdict}. {_describe_reached(first, second, reached)}"


def _describe_reached(first: str, second: str, reached: Reached) -> str:
    tokens = " and ".join(short(value) for value in reached.tokens)
    hours = " and ".join(_hours(value) for value in reached.hours)
    return (
        f"To a validation loss of {decimal(reached.loss)}, which both came to, {first} and {second} took {tokens} "
        f"tokens and {hours} device hours, counted by whole generations; hours were taken while other jobs ran. It is "
        "said of these two searches, not of the methods."
    )


def _describe_better(comparison: Comparison) -> str:
    claim = f"“{comparison.first.name} finds a better recipe than {comparison.second.name}”"
    better = comparison.better
    text = f"{claim}: {better.verdict}{_describe_test(better)}"
    steps = [search.untils[-1] for search in (comparison.first, comparison.second)]
    if steps[0] != steps[1]:
        text += f" The winners are trained for {steps[0]:,} and {steps[1]:,} steps."
    return text


def _describe_test(better: Better) -> str:
    if isinstance(better.found, str) or better.p is None:
        return f", not tested ({better.found})."
    value, interval = format_difference(better.score, better.found)
    return (
        f". {better.title}, {TITLES[better.score]} of the winners: {value}, 95 % interval {interval}, "
        f"{describe_p_value(better.p)}; {better.found.test}. It is said of these two models, not of the methods."
    )


def _hours(value: float) -> str:
    return decimal(value, 2 if value >= 1 else 4)
