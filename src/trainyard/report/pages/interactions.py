"""Whether options that a recipe combines do together what each alone does: a row a pair and a quantity."""

from collections.abc import Sequence

from trainyard.config.study import BASE
from trainyard.report.render.format import SHORT_TITLES, TITLES, change_of_ratio, join_words
from trainyard.report.render.html import Cell, Column, Raw, Row, Table
from trainyard.report.statistics.interactions import Interaction, RatioTest
from trainyard.report.statistics.pairwise import (
    describe_p_value,
    describe_sizes,
    format_difference,
    format_shift,
    raw_difference_unit,
)
from trainyard.report.statistics.quantities import BY_KEY
from trainyard.report.statistics.trade_offs import higher_is_better

NONE_SHOWN = "no interaction shown"
COLUMNS = [
    Column("first", "first option", text=True, shown=False),
    Column("second", "second", text=True, shown=False),
    Column("both", "both", text=True, shown=False),
    Column("of", "of", text=True),
    Column("first_alone", "first", f"alone, against {BASE}"),
    Column("second_alone", "second", f"alone, against {BASE}"),
    Column("together", "measured", "together"),
    Column("expected", "expected", "together", tip="if they did not interact"),
    Column("interaction", "interaction", tip="what both do beyond that: over it of a cost, minus it of a score"),
    Column("verdict", "verdict", text=True),
]
NOTES = [
    "Options that don't interact multiply their costs and add up their changes of a score: that is what is expected of "
    "them together. The interaction is what was measured over that, as a ratio of ratios, or minus that, as a "
    "difference of differences.",
    "Brackets hold its 95 % interval: of a cost over seeds, by Student's t of the logarithms; of a score over seeds "
    "and items, with one seed over items alone by the signs of whole items. p is corrected by Holm over the pairs. A "
    "cost must be off by its margin too, as in the table above.",
]
EMPTY = "No recipe combines exactly what two others change."


def interactions_table(interactions: Sequence[Interaction]) -> Table:
    """The table of pairs of options."""
    rows = [Row(_cells(each), _options(each)) for each in interactions]
    return Table("Options that interact", COLUMNS, rows, NOTES if rows else [], EMPTY)


def describe_interactions(interactions: Sequence[Interaction]) -> list[str]:
    """What each pair that interacts does together, and which pairs are not shown to."""
    sentences, without = [], []
    for names in dict.fromkeys(map(_options, interactions)):
        here = [each for each in interactions if _options(each) == names]
        shown = [f"{_verdict(each)} ({_value(each)})" for each in here if each.is_shown]
        if shown:
            sentences.append(f"{names[0].upper()}{names[1:]} interact: {join_words(shown)}.")
        else:
            without.append(names)
    if without:
        sentences.append(f"No interaction is shown between {'; nor between '.join(without)}.")
    return sentences


def _options(interaction: Interaction) -> str:
    """The two of them, with the place where a study has several."""
    return " and ".join(interaction.pair) + (f" ({interaction.place})" if interaction.place else "")


def _cells(interaction: Interaction) -> dict[str, Cell]:
    (first, second), (one, other) = interaction.pair, interaction.alone
    effects = {
        "first_alone": one,
        "second_alone": other,
        "together": interaction.together,
        "expected": interaction.expected,
    }
    of = " ".join(filter(None, [_name(interaction), interaction.title and f"({interaction.title})"]))
    verdict = _verdict(interaction)
    kind = "warn" if interaction.is_shown else "muted"
    return {
        "first": Cell(first, first),
        "second": Cell(second, second),
        "both": Cell(interaction.both, interaction.both),
        "of": Cell(of, interaction.name, {"title": interaction.title}),
        **{key: Cell(_format(interaction, value), value) for key, value in effects.items()},
        "interaction": _interaction_cell(interaction, kind),
        "verdict": Cell(verdict, verdict, {"shown": interaction.is_shown}, kind=kind),
    }


def _interaction_cell(interaction: Interaction, kind: str) -> Cell:
    found = interaction.found
    if isinstance(found, str):
        return Cell("not tested", None, {"reason": found}, tip=found, kind="plain")
    more: dict[str, Raw] = {"low": found.low, "high": found.high, "p_holm": interaction.p}
    tip = "" if interaction.p is None else describe_p_value(interaction.p)
    if isinstance(found, RatioTest):
        interval = found.reason
        if found.low is not None and found.high is not None:
            interval = f"[{change_of_ratio(found.low)}, {change_of_ratio(found.high)}]"
        more |= {"unit": "ratio", "reason": found.reason or None}
        return Cell(change_of_ratio(found.ratio), found.ratio, more, tip, kind, detail=interval)
    value, interval = format_difference(interaction.name, found)
    more |= {"unit": raw_difference_unit(interaction.name), "reason": None}
    return Cell(value, found.difference, more, f"{tip}; {found.test}, {describe_sizes(found)}", kind, detail=interval)


def _name(interaction: Interaction) -> str:
    quantity = BY_KEY.get(interaction.name)
    return quantity.title if quantity else SHORT_TITLES[interaction.name]


def _format(interaction: Interaction, value: float) -> str:
    if interaction.name in BY_KEY:
        return change_of_ratio(value)
    test = None if isinstance(interaction.found, str | RatioTest) else interaction.found
    return format_shift(interaction.name, value, test)


def _value(interaction: Interaction) -> str:
    """The interaction with its interval, in a sentence."""
    cell = _interaction_cell(interaction, "")
    return f"{cell.text} {cell.detail}".strip()


def _verdict(interaction: Interaction) -> str:
    """A plain sentence: what both do against what each alone promises."""
    found = interaction.found
    if isinstance(found, str):
        return f"not tested: {found}"
    if not interaction.is_tested:
        return f"not tested: {found.reason}" if isinstance(found, RatioTest) else "not tested"
    if not interaction.is_shown:
        return NONE_SHOWN
    if not isinstance(found, RatioTest):
        better = (found.difference > 0) == higher_is_better(interaction.name)
        return f"together {TITLES[interaction.name]} is {'better' if better else 'worse'} than expected"
    quantity = BY_KEY[interaction.name]
    is_less_better = quantity.better == "less"
    improves = (interaction.expected < 1) == is_less_better
    verb = ("save" if improves else "cost") if is_less_better else ("gain" if improves else "lose")
    favourable = (found.ratio < 1) == is_less_better
    return f"together they {verb} {'more' if favourable == improves else 'less'} {quantity.title} than expected"
