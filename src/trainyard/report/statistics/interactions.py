"""Pairs of options that a third recipe combines: whether the two together do what each alone promises.

Of a cost the effect of an option is the ratio to `base`, so two that don't interact multiply; of a score it is the
difference from `base`, so they add up. What is left is the interaction: a ratio of ratios, a difference of differences.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Any

from scipy import stats

from trainyard.config.settings import ENERGY, Energy
from trainyard.config.study import BASE
from trainyard.report.results.item_scores import Items
from trainyard.report.results.runs import Evaluation, Run
from trainyard.report.statistics.paired_tests import PairedTest, contrast_items, explain_unlike, holm, item_sums
from trainyard.report.statistics.pairwise import SIGNIFICANT
from trainyard.report.statistics.quantities import Quantity, list_quantities
from trainyard.report.statistics.recipes import RecipeTest, contrast_recipe_items
from trainyard.report.statistics.seeds import compute_spread
from trainyard.report.statistics.trade_offs import VALIDATION, collect_places, match_evaluations, read_quantity
from trainyard.report.statistics.validation import LOSS, collect_validations

Four = Sequence[Sequence[Run]]
"""The seeds of both options, of the first, of the second, and of `base`."""


@dataclass(frozen=True)
class RatioTest:
    """The ratio of what two options together cost to the product of what each alone does, as a mean over seeds.

    Attributes:
        ratio: the geometric mean over seeds of the ratios of ratios.
        low: the lower end of its 95 % interval, by Student's t of the logarithms; None where there is none.
        high: the upper end.
        p: two-sided; None where there is none.
        reason: why there is no interval.
    """

    ratio: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Interaction:
    """What two options do together beyond what they do alone, by one quantity or score.

    Attributes:
        place: the other coordinates, where a study has several; empty where it has one.
        pair: the recipes of each option alone.
        both: that of the two.
        name: of the quantity or the score.
        title: on what it was scored; empty of a cost.
        seeds: that all four were trained with.
        alone: the effect of each option: a ratio to `base`, or a difference from it.
        together: that of both.
        expected: what it would be if they didn't interact.
        found: the test of `together` over, or minus, `expected`; a text says why there is none.
        p: its p-value after Holm's correction over the pairs of the place.
        margin: of a cost, by how much the ratio must be away from 1.
    """

    place: str
    pair: tuple[str, str]
    both: str
    name: str
    title: str
    seeds: int
    alone: tuple[float, float]
    together: float
    expected: float
    found: RatioTest | PairedTest | RecipeTest | str
    p: float | None = None
    margin: float = 0.0

    @property
    def is_tested(self) -> bool:
        """Whether anything tells an interaction from noise."""
        return self.p is not None or _is_exact(self.found)

    @property
    def is_shown(self) -> bool:
        """Whether there is one, at the level of 5 %; a cost must differ by its margin too.

        A cost that is off by the same ratio in every seed has no noise to be told from.
        """
        if isinstance(self.found, RatioTest) and abs(math.log(self.found.ratio)) <= math.log1p(self.margin):
            return False
        return _is_exact(self.found) or (self.p is not None and self.p < SIGNIFICANT)


SAME = "the same in every seed"


def _is_exact(found: RatioTest | PairedTest | RecipeTest | str) -> bool:
    return isinstance(found, RatioTest) and found.reason == SAME


def find_interactions(
    runs: Sequence[Run], evaluations: Sequence[Evaluation], energy: Energy = ENERGY
) -> list[Interaction]:
    """Every pair of recipes that a third combines, by every quantity and score that all four have.

    Args:
        runs: of a study.
        evaluations: of these.
        energy: watts.
    """
    results: list[Interaction] = []
    for place, by_recipe in collect_places(runs):
        here: list[Interaction] = []
        for first, second, both in find_combinations(by_recipe):
            names = (both, first, second, BASE)
            seeds = [seed for seed in by_recipe[both] if all(seed in by_recipe[name] for name in names)]
            if not seeds:
                continue
            four = [[by_recipe[name][seed] for seed in seeds] for name in names]
            for each in _of_four(four, evaluations, energy):
                here.append(Interaction(place, (first, second), both, seeds=len(seeds), **each))
        results += _correct(here)
    return results


def find_combinations(by_recipe: dict[str, dict[str, Run]]) -> Iterator[tuple[str, str, str]]:
    """Recipes whose changes against `base` are those of two others, which change other settings: the two, and it."""
    changes = {}
    for name, by_seed in by_recipe.items():
        seed = next((seed for seed in by_seed if seed in by_recipe[BASE]), None)
        if seed is not None and (found := _find_changes(by_seed[seed], by_recipe[BASE][seed])):
            changes[name] = found
    for both, together in changes.items():
        for first, second in combinations((name for name in changes if name != both), 2):
            if not changes[first].keys() & changes[second].keys() and changes[first] | changes[second] == together:
                yield first, second, both


def _find_changes(run: Run, base: Run) -> dict[str, Any]:
    """The settings of training in which a run differs from `base`; one that is not written is none."""
    ours, theirs = run.specification["train"], base.specification["train"]
    return {key: ours.get(key) for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)}


def _of_four(four: Four, evaluations: Sequence[Evaluation], energy: Energy) -> Iterator[dict[str, Any]]:
    for quantity in list_quantities([run for recipe in four for run in recipe], energy):
        values = read_quantity(quantity, four, evaluations)
        if values is not None:
            yield _of_quantity(quantity, values)
    if all(run.summary["best"] is not None for recipe in four for run in recipe):
        rows = collect_validations(four)
        if not isinstance(rows, str):
            yield _of_items(VALIDATION, "validation", LOSS, rows)
    for name, title, found in match_evaluations(four, evaluations):
        every = [each for recipe in found for each in recipe]
        items = [[each.items for each in recipe if isinstance(each.items, Items)] for recipe in found]
        if not any(explain_unlike(every[0], other) for other in every[1:]) and sum(map(len, items)) == len(every):
            yield _of_items(name, title, name, items)


def _of_quantity(quantity: Quantity, values: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The effects of one cost, each the mean over seeds of the logarithm of its ratio to `base` of the same seed."""
    logs = [[math.log(value) for value in recipe] for recipe in values]
    both, first, second = ([our - their for our, their in zip(recipe, logs[3], strict=True)] for recipe in logs[:3])
    rest = [together - one - other for together, one, other in zip(both, first, second, strict=True)]
    alone = math.exp(fmean(first)), math.exp(fmean(second))
    return {
        "name": quantity.key,
        "title": "",
        "alone": alone,
        "together": math.exp(fmean(both)),
        "expected": alone[0] * alone[1],
        "found": _test_ratio(rest),
        "margin": quantity.margin,
    }


def _test_ratio(logs: Sequence[float]) -> RatioTest:
    """Student's t-test of the logarithms' mean against 0."""
    ratio = math.exp(fmean(logs))
    spread = compute_spread(logs)
    if spread is None:
        return RatioTest(ratio, reason="one seed: no spread over seeds")
    if spread.low is None or spread.high is None or spread.standard_error is None:
        return RatioTest(ratio, reason=SAME)
    p = 2 * float(stats.t.sf(abs(spread.mean) / spread.standard_error, spread.n - 1))
    return RatioTest(ratio, math.exp(spread.low), math.exp(spread.high), p)


def _of_items(name: str, title: str, score: str, items: Sequence[Sequence[Items]]) -> dict[str, Any]:
    """The effects by one score: of one seed over the items of its models, of several over seeds and items."""
    both, first, second, base = items
    found = (
        contrast_items([both[0], base[0]], [first[0], second[0]], score)
        if len(both) == 1
        else contrast_recipe_items([both, base], [first, second], score)
    )
    means = [fmean(_mean(each, score) for each in recipe) for recipe in items]
    alone = means[1] - means[3], means[2] - means[3]
    return {
        "name": name,
        "title": title,
        "alone": alone,
        "together": means[0] - means[3],
        "expected": sum(alone),
        "found": found,
    }


def _mean(items: Items, name: str) -> float:
    over, under = item_sums(items, name)
    return float(over.sum() / under.sum())


def _correct(interactions: list[Interaction]) -> list[Interaction]:
    """With p-values corrected over the pairs of one place for each quantity and score."""
    corrected = list(interactions)
    for key in dict.fromkeys((each.name, each.title) for each in interactions):
        tested = [
            (index, each.found.p)
            for index, each in enumerate(interactions)
            if (each.name, each.title) == key and not isinstance(each.found, str) and each.found.p is not None
        ]
        for (index, _), p in zip(tested, holm([p for _, p in tested]), strict=True):
            corrected[index] = replace(corrected[index], p=p)
    return corrected
