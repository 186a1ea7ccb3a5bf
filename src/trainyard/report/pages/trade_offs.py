"""What each recipe costs and gains against the recipe `base`: memory, work, time, energy and quality side by side."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from markupsafe import Markup

from trainyard.config.settings import ENERGY, Energy
from trainyard.config.study import BASE, Study
from trainyard.core.files import write_text
from trainyard.report.pages.interactions import describe_interactions, interactions_table
from trainyard.report.render.format import SHORT_TITLES, TITLES, change_of_ratio, join_words, plural
from trainyard.report.render.html import Cell, Column, Raw, Row, Table, render, render_fragment, to_csv
from trainyard.report.results.runs import read_evaluations, read_runs
from trainyard.report.statistics.interactions import find_interactions
from trainyard.report.statistics.pairwise import describe_p_value, format_difference, raw_difference_unit
from trainyard.report.statistics.quantities import BY_KEY, SEEDS_TO_TIME, TIMED, Direction
from trainyard.report.statistics.study import Evidence
from trainyard.report.statistics.trade_offs import Change, Quality, TradeOff, weigh_recipes

KINDS = {"held": "good", "contradicted": "bad", "not shown": "plain"}
NOTES = [
    f"Each recipe is compared with {BASE} under the same seeds. Costs are changes in percent, as geometric means over "
    "seeds, with the least and the largest seed in brackets; scores are differences.",
    "A cost is said to be less or more where every seed differs by more than "
    f"{100 * BY_KEY['memory'].margin:g} % in memory or {100 * TIMED:g} % in time and energy: "
    "steps were timed while other jobs ran, which measurements avoid. Of time and energy it takes "
    f"{SEEDS_TO_TIME} seeds to say so.",
    "Brackets beside a score hold the 95 % interval of its difference; p is corrected by Holm over the recipes. "
    "Several seeds are tested over seeds and items, one seed over the items of two models alone.",
]
EMPTY = f"No recipe was trained beside a recipe `{BASE}` with the same seed."


def tabulate(
    study: Study,
    *,
    runs: Sequence[Path],
    evaluations: Sequence[Path],
    energy: Energy = ENERGY,
    table: Path,
    numbers: Path,
    interactions: Path,
) -> None:
    """Write one page of what each recipe changes and of options that interact, and each of the two tables as CSV.

    Args:
        study: gives the title, and what is expected of recipes.
        runs: folders with spec.json, summary.json and validation.parquet.
        evaluations: evaluation files, whose items are in Parquet files beside them.
        energy: watts.
        table: the HTML page.
        numbers: the CSV of recipes.
        interactions: the CSV of pairs of options.
    """
    trained, scored = read_runs(runs), read_evaluations(evaluations)
    weighed, found = weigh_recipes(trained, scored, study.expect, energy), find_interactions(trained, scored, energy)
    recipes, pairs = trade_offs_table(study, weighed), interactions_table(found)
    body = _paragraphs(_describe(weighed, study.primary)) + render_fragment(recipes)
    if pairs.rows:
        body += Markup("\n<h2>{}</h2>\n").format(pairs.title)
        body += _paragraphs(describe_interactions(found)) + render_fragment(pairs)
    write_text(table, render("page.html", title=recipes.title, study_title=study.title, body=body))
    write_text(numbers, to_csv(recipes))
    write_text(interactions, to_csv(pairs))


def _paragraphs(sentences: Sequence[str]) -> Markup:
    return Markup("").join(Markup("<p>{}</p>\n").format(sentence) for sentence in sentences)


def trade_offs_table(study: Study, weighed: Sequence[TradeOff]) -> Table:
    """A row for each recipe."""
    rows = [Row(dict(_cells(each, study.primary)), each.place) for each in weighed]
    scores = dict.fromkeys((quality.name, quality.title) for each in weighed for quality in each.qualities)
    filled = {key for each in weighed for key in each.costs}
    columns = [
        Column("recipe", "recipe", text=True),
        Column("seeds", "seeds", shown=any(each.seeds > 1 for each in weighed)),
        *(Column(each.key, each.title, f"over {BASE}", tip=each.tip) for each in BY_KEY.values() if each.key in filled),
        *(Column(f"{title}:{name}", SHORT_TITLES[name], title, tip=f"minus {BASE}") for name, title in scores),
        Column("expected", "expected", "said beforehand", text=True, shown=bool(study.expect)),
    ]
    return Table("Trade-offs of recipes", columns, rows, NOTES if weighed else [], EMPTY)


def describe_trade_offs(evidence: Evidence) -> list[str]:
    """What to take where memory, time, energy or quality matters most, and which options interact."""
    weighed = weigh_recipes(evidence.runs, evidence.evaluations, evidence.study.expect, evidence.energy)
    pairs = find_interactions(evidence.runs, evidence.evaluations, evidence.energy)
    return [*_describe(weighed, evidence.study.primary), *describe_interactions(pairs)]


def _cells(trade_off: TradeOff, primary: str | None) -> Iterator[tuple[str, Cell]]:
    yield "recipe", Cell(trade_off.recipe, trade_off.recipe)
    yield "seeds", Cell(str(trade_off.seeds), trade_off.seeds)
    for key, change in trade_off.costs.items():
        yield key, _cost_cell(change, BY_KEY[key].better, trade_off.seeds)
    for quality in trade_off.qualities:
        yield f"{quality.title}:{quality.name}", _quality_cell(quality)
    if judged := trade_off.judge(primary):
        text = "; ".join(f"{trade_off.expected[name]} {name}: {verdict}" for name, verdict in judged.items())
        worst = next((verdict for verdict in ("contradicted", "not shown") if verdict in judged.values()), "held")
        yield "expected", Cell(text, text, kind=KINDS[worst])


def _cost_cell(change: Change, better: Direction, seeds: int) -> Cell:
    kind = "muted" if change.direction is None else "good" if change.direction == better else "warn"
    detail = f"[{change_of_ratio(change.lowest)}, {change_of_ratio(change.highest)}]" if seeds > 1 else ""
    more = {"lowest": change.lowest, "highest": change.highest, "direction": change.direction}
    return Cell(change_of_ratio(change.ratio), change.ratio, more, kind=kind, detail=detail)


def _quality_cell(quality: Quality) -> Cell:
    if isinstance(quality.found, str) or quality.p is None:
        return Cell("not tested", None, tip=str(quality.found), kind="plain")
    value, interval = format_difference(quality.name, quality.found)
    kind = {"more": "good", "less": "warn"}.get(quality.direction or "", "muted")
    more: dict[str, Raw] = {"low": quality.found.low, "high": quality.found.high, "p_holm": quality.p}
    more |= {"unit": raw_difference_unit(quality.name)}
    return Cell(value, quality.found.difference, more, describe_p_value(quality.p), kind, detail=interval)


def _describe(weighed: Sequence[TradeOff], primary: str | None) -> list[str]:
    sentences = []
    for place in dict.fromkeys(each.place for each in weighed):
        here = [each for each in weighed if each.place == place]
        where = f" ({place})" if place else ""
        parts = [
            f"where memory matters most{where}, {_cheapest(here, 'memory', primary)}",
            f"where time does, {_cheapest(here, 'hours', primary)}",
            *(
                [f"where energy does, {_cheapest(here, 'energy', primary)}"]
                if any("energy" in each.costs for each in here)
                else []
            ),
            f"where quality does, {_best(here, primary)}",
        ]
        text = "; ".join(parts)
        sentences.append(f"{text[0].upper()}{text[1:]}.")
    return [*sentences, *_describe_expected(weighed, primary)]


def _cheapest(trade_offs: Sequence[TradeOff], cost: str, primary: str | None) -> str:
    """The recipe that takes least of a cost, with what it costs in quality."""
    cheaper = [each for each in trade_offs if cost in each.costs and each.costs[cost].direction == "less"]
    if not cheaper:
        return f"no recipe is shown to take less than {BASE}"
    best = min(cheaper, key=lambda each: each.costs[cost].ratio)
    change = f"{change_of_ratio(best.costs[cost].ratio)} {BY_KEY[cost].title}"
    return f"take {best.recipe} ({change}, {_say_quality(best, primary)})"


def _best(trade_offs: Sequence[TradeOff], primary: str | None) -> str:
    better = [
        (each, quality)
        for each in trade_offs
        if (quality := each.quality(primary)) is not None and quality.direction == "more"
    ]
    if not better:
        return f"no recipe is shown to be better than {BASE}"
    best, quality = max(better, key=lambda pair: abs(_difference(pair[1])))
    others = [each.recipe for each, _ in better if each is not best]
    also = f"; better than {BASE} too: {join_words(others)}" if others else ""
    costs = [
        f"{change_of_ratio(best.costs[cost].ratio)} {BY_KEY[cost].title}"
        for cost in ("memory", "hours")
        if cost in best.costs
    ]
    return f"take {best.recipe} ({', '.join([_say(quality), *costs])}{also})"


def _difference(quality: Quality) -> float:
    return 0.0 if isinstance(quality.found, str) else quality.found.difference


def _say_quality(trade_off: TradeOff, primary: str | None) -> str:
    quality = trade_off.quality(primary)
    return "quality not compared" if quality is None else _say(quality)


def _say(quality: Quality) -> str:
    if isinstance(quality.found, str) or quality.p is None:
        return f"{TITLES[quality.name]} not tested: {quality.found}"
    value, interval = format_difference(quality.name, quality.found)
    text = f"{TITLES[quality.name]} {value} {interval}"
    if quality.direction is not None:
        return text
    if quality.found.low <= 0 <= quality.found.high:
        return f"{text}, within noise"
    return f"{text}, not significant once corrected for the number of recipes: {describe_p_value(quality.p)}"


def _describe_expected(weighed: Sequence[TradeOff], primary: str | None) -> list[str]:
    judged = [(each.recipe, name, verdict) for each in weighed for name, verdict in each.judge(primary).items()]
    if not judged:
        return []
    counts = [(verdict, sum(each[2] == verdict for each in judged)) for verdict in KINDS]
    text = join_words([f"{count} {verdict}" for verdict, count in counts if count])
    against = [f"{recipe} ({name})" for recipe, name, verdict in judged if verdict == "contradicted"]
    more = f"; contradicted: {join_words(against)}" if against else ""
    return [f"Of {plural(len(judged), 'expectation')} {text}{more}."]
