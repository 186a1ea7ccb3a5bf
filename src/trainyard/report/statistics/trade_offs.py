"""What each recipe changes against the recipe `base` of the same seeds: cost, and quality with its tests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean
from typing import Literal

from trainyard.config.settings import ENERGY, Energy
from trainyard.config.study import BASE, Expectation
from trainyard.metrics import METRICS
from trainyard.report.results.runs import Evaluation, Run, distinguishing_coordinates, label
from trainyard.report.statistics.paired_tests import PairedTest, compare_paired, holm
from trainyard.report.statistics.pairwise import SIGNIFICANT
from trainyard.report.statistics.quantities import Direction, Quantity, list_quantities
from trainyard.report.statistics.recipes import RecipeTest, compare_recipes
from trainyard.report.statistics.validation import compare_validation, compare_validation_of_recipes

VALIDATION = "validation_loss"
Verdict = Literal["held", "contradicted", "not shown"]


@dataclass(frozen=True)
class Change:
    """One cost of a recipe over that of `base`.

    Attributes:
        ratio: the geometric mean over seeds.
        lowest: of one seed.
        highest: of one seed.
        margin: by how much each seed's must be away from 1 for a direction to be told.
        told: whether there are seeds enough to tell one.
    """

    ratio: float
    lowest: float
    highest: float
    margin: float
    told: bool

    @property
    def direction(self) -> Direction | None:
        """Which way every seed goes; None where they don't agree, are too few, or differ by less than the margin."""
        if not self.told:
            return None
        if self.highest < 1 - self.margin:
            return "less"
        return "more" if self.lowest > 1 + self.margin else None


@dataclass(frozen=True)
class Quality:
    """One score of a recipe minus that of `base`.

    Attributes:
        name: of the score, or the validation loss.
        title: on what.
        found: the test, or why there is none.
        p: its p-value after Holm's correction over the recipes.
    """

    name: str
    title: str
    found: PairedTest | RecipeTest | str
    p: float | None = None

    @property
    def direction(self) -> Direction | None:
        """Whether quality is more or less than that of `base`, at the level of 5 %; None where that is not shown."""
        if isinstance(self.found, str) or self.p is None or self.p >= SIGNIFICANT:
            return None
        is_better = (self.found.difference > 0) == higher_is_better(self.name)
        return "more" if is_better else "less"


@dataclass(frozen=True)
class TradeOff:
    """A recipe against `base`.

    Attributes:
        place: the other coordinates of both, where a study has several; empty where it has one.
        recipe: its name.
        seeds: that both were trained with.
        costs: those quantities that both have, by key.
        qualities: by validation loss, and by one score of each evaluation.
        expected: what the study says beforehand of its memory, speed and quality.
    """

    place: str
    recipe: str
    seeds: int
    costs: dict[str, Change]
    qualities: list[Quality]
    expected: dict[str, Direction]

    def judge(self, primary: str | None) -> dict[str, Verdict]:
        """What became of each expectation; that of quality is judged by the score that answers the question."""
        found: dict[str, Direction | None] = {name: change.direction for name, change in self.costs.items()}
        quality = self.quality(primary)
        found["quality"] = quality.direction if quality else None
        return {
            name: "not shown" if found.get(name) is None else "held" if found[name] == wanted else "contradicted"
            for name, wanted in self.expected.items()
        }

    def quality(self, primary: str | None) -> Quality | None:
        """The score that answers the question: of the metric `primary`, else of the first; the loss without scores."""
        scores = [each for each in self.qualities if each.name != VALIDATION]
        of_primary = [each for each in scores if primary is not None and each.name in METRICS[primary].tested]
        return next(iter([*of_primary, *scores, *self.qualities]), None)


def higher_is_better(name: str) -> bool:
    """Whether the higher one of two scores, or losses, is the better one."""
    return next((metric.higher_is_better for metric in METRICS.values() if name in metric.tested), False)


def collect_places(runs: Sequence[Run]) -> list[tuple[str, dict[str, dict[str, Run]]]]:
    """The finished runs of each place that has a `base` and other recipes, by recipe and seed; with its name.

    A place is all that a run's coordinates say but recipe and seed; its name is empty where there is one.
    """
    places: dict[tuple[str, ...], dict[str, dict[str, Run]]] = {}
    for run in runs:
        if run.finished:
            at = {name: value for name, value in run.coordinates.items() if name not in ("recipe", "seed")}
            by_recipe = places.setdefault(tuple(at.values()), {})
            by_recipe.setdefault(run.coordinates["recipe"], {})[run.coordinates["seed"]] = run
    compared = [by_recipe for by_recipe in places.values() if BASE in by_recipe and len(by_recipe) > 1]
    bases = [next(iter(by_recipe[BASE].values())) for by_recipe in compared]
    names = distinguishing_coordinates(bases, without="seed")
    titles = [label(base, names) if names else "" for base in bases]
    return list(zip(titles, compared, strict=True))


def weigh_recipes(
    runs: Sequence[Run],
    evaluations: Sequence[Evaluation],
    expected: dict[str, Expectation],
    energy: Energy = ENERGY,
) -> list[TradeOff]:
    """Every recipe against the `base` of the same dataset, model, parallel setting, processes and precision.

    Args:
        runs: of a study.
        evaluations: of these.
        expected: what the study says of recipes beforehand.
        energy: watts.
    """
    results: list[TradeOff] = []
    for place, by_recipe in collect_places(runs):
        results += _correct(
            [_weigh(place, by_recipe, name, evaluations, expected, energy) for name in by_recipe if name != BASE]
        )
    return [each for each in results if each.seeds]


def _weigh(
    place: str,
    by_recipe: dict[str, dict[str, Run]],
    name: str,
    evaluations: Sequence[Evaluation],
    expected: dict[str, Expectation],
    energy: Energy,
) -> TradeOff:
    seeds = [seed for seed in by_recipe[name] if seed in by_recipe[BASE]]
    ours, theirs = ([by_recipe[recipe][seed] for seed in seeds] for recipe in (name, BASE))
    changes = {each.key: _change(each, ours, theirs, evaluations) for each in list_quantities([*ours, *theirs], energy)}
    costs = {key: change for key, change in changes.items() if change}
    qualities = [*_of_validation(ours, theirs), *_of_evaluations(ours, theirs, evaluations)]
    wanted = {key: value for key, value in expected.get(name) or () if value is not None}
    return TradeOff(place, name, len(seeds), costs, qualities, wanted)


def _change(
    quantity: Quantity, ours: Sequence[Run], theirs: Sequence[Run], evaluations: Sequence[Evaluation]
) -> Change | None:
    values = read_quantity(quantity, [ours, theirs], evaluations)
    if values is None:
        return None
    ratios = [our / their for our, their in zip(*values, strict=True)]
    return Change(geometric_mean(ratios), min(ratios), max(ratios), quantity.margin, len(ratios) >= quantity.seeds)


def read_quantity(
    quantity: Quantity, recipes: Sequence[Sequence[Run]], evaluations: Sequence[Evaluation]
) -> list[list[float]] | None:
    """A quantity of each seed of each recipe; None where one has none."""
    values = [
        [quantity.read(run, [each for each in evaluations if each.run == run.name]) for run in recipe]
        for recipe in recipes
    ]
    known = [[value for value in recipe if value] for recipe in values]
    return known if all(recipe and len(recipe) == len(recipes[0]) for recipe in known) else None


def _of_validation(ours: Sequence[Run], theirs: Sequence[Run]) -> list[Quality]:
    if not ours or any(run.summary["best"] is None for run in (*ours, *theirs)):
        return []
    found = (
        compare_validation(ours[0], theirs[0])
        if len(ours) == 1
        else compare_validation_of_recipes(ours, theirs, "best")
    )
    return [Quality(VALIDATION, "validation", found)]


def _of_evaluations(ours: Sequence[Run], theirs: Sequence[Run], evaluations: Sequence[Evaluation]) -> list[Quality]:
    qualities = []
    for name, title, (first, second) in match_evaluations([ours, theirs], evaluations):
        found = compare_paired(first[0], second[0], name) if len(first) == 1 else compare_recipes(first, second, name)
        qualities.append(Quality(name, title, found))
    return qualities


def match_evaluations(
    recipes: Sequence[Sequence[Run]], evaluations: Sequence[Evaluation]
) -> Iterator[tuple[str, str, list[list[Evaluation]]]]:
    """One score of each evaluation that every seed of every recipe has, of the same checkpoint.

    Yields:
        the score's name, on what, and the evaluations of each recipe's seeds.
    """
    by_run = {(each.run, each.raw["evaluation"], each.checkpoint): each for each in evaluations if each.scores}
    asked = dict.fromkeys(key[1:] for key in by_run if recipes[0] and key[0] == recipes[0][0].name)
    several = len({checkpoint for _, checkpoint in asked}) > 1
    for key in asked:
        found = [[by_run[run.name, *key] for run in recipe if (run.name, *key) in by_run] for recipe in recipes]
        if any(len(known) < len(recipe) for known, recipe in zip(found, recipes, strict=True)):
            continue
        first = found[0][0]
        tested = METRICS[first.metric].tested if first.metric in METRICS else ()
        name = next((name for name in tested if all(name in each.scores for known in found for each in known)), None)
        if name is not None:
            yield name, f"{first.title}, {first.checkpoint}" if several else first.title, found


def _correct(trade_offs: list[TradeOff]) -> list[TradeOff]:
    """With p-values corrected over the recipes of one place for each score."""
    corrected: list[list[Quality]] = [list(each.qualities) for each in trade_offs]
    for key in dict.fromkeys((quality.name, quality.title) for each in corrected for quality in each):
        places = [
            (row, column, quality.found.p)
            for row, qualities in enumerate(corrected)
            for column, quality in enumerate(qualities)
            if (quality.name, quality.title) == key and not isinstance(quality.found, str)
        ]
        for (row, column, _), p in zip(places, holm([p for _, _, p in places]), strict=True):
            corrected[row][column] = replace(corrected[row][column], p=p)
    return [replace(each, qualities=qualities) for each, qualities in zip(trade_offs, corrected, strict=True)]
