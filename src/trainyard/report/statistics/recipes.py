"""Whether two recipes differ, of which each was trained with several seeds: tests over seeds, and over their items."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from scipy import stats

from trainyard.core.statistics import LEVEL
from trainyard.report.results.item_scores import Items
from trainyard.report.results.runs import Evaluation
from trainyard.report.statistics.paired_tests import explain_unlike, item_sums
from trainyard.report.statistics.seeds import compute_spread

WELCH = "Welch's t-test over seeds"
TWO_WAY = "t-test over seeds and items"


@dataclass(frozen=True)
class RecipeTest:
    """The difference of two recipes' means over seeds, first minus second; or what several come to with their signs.

    Attributes:
        difference: in the figure's own unit; over items too, as a paired test has it.
        low: the lower end of its 95 % interval.
        high: the upper end.
        p: two-sided.
        degrees: degrees of freedom, by Welch and Satterthwaite.
        n: seeds of each; of an interaction those of its options together, and of one alone.
        error: the standard error of the difference.
        items: how many items every seed was scored on; 0 where the figure has none.
    """

    difference: float
    low: float
    high: float
    p: float
    degrees: float
    n: tuple[int, int]
    error: float
    items: int = 0

    @property
    def test(self) -> str:
        """The name of the test."""
        return TWO_WAY if self.items else WELCH


def welch(first: Sequence[float], second: Sequence[float]) -> RecipeTest | str:
    """Welch's t-test of two recipes (Welch 1947, Biometrika 34, 28-35); a text says why there is none."""
    if reason := _explain_untested(first, second):
        return reason
    test: Any = stats.ttest_ind(first, second, equal_var=False)
    interval, degrees = test.confidence_interval(LEVEL), float(test.df)
    error = math.sqrt(np.var(first, ddof=1) / len(first) + np.var(second, ddof=1) / len(second))
    return RecipeTest(
        fmean(first) - fmean(second),
        float(interval.low),
        float(interval.high),
        float(test.pvalue),
        degrees,
        (len(first), len(second)),
        error,
    )


def compare_recipes(first: Sequence[Evaluation], second: Sequence[Evaluation], name: str) -> RecipeTest | str:
    """Test the difference of two recipes by one score of their seeds on the same items.

    Other seeds would give other models, and other items another order of the same models: both are chance. The
    variance of the difference is that of the seeds' scores of each recipe over their number, and that of the items'
    differences, each a mean over seeds, over theirs; it is compared with Student's t by Satterthwaite's degrees of
    freedom (1946, Biometrics Bulletin 2, 110-114). What a seed and an item have together is in both, so the test
    errs on the side of noise. Sellam et al. 2022 (The MultiBERTs, ICLR) resample the same two, which takes more seeds.

    Args:
        first: an evaluation a seed.
        second: those of the other recipe.
        name: of the score in the result files.
    """
    every = [*first, *second]
    for other in every[1:]:
        if reason := explain_unlike(every[0], other):
            return reason
    items = [each.items for each in every]
    known = [each for each in items if isinstance(each, Items)]
    if len(known) < len(items):
        return next(each for each in items if isinstance(each, str))
    return compare_recipe_items(known[: len(first)], known[len(first) :], name)


def compare_recipe_items(first: Sequence[Items], second: Sequence[Items], name: str) -> RecipeTest | str:
    """As `compare_recipes`, of the items themselves."""
    return contrast_recipe_items([first], [second], name)


def contrast_recipe_items(
    added: Sequence[Sequence[Items]], taken: Sequence[Sequence[Items]], name: str
) -> RecipeTest | str:
    """As `compare_recipes`, of the sum of some recipes' means minus that of as many others.

    An interaction of two options is both and neither minus the one and the other.

    Args:
        added: the items of each recipe that counts with plus, a seed each.
        taken: of each that counts with minus.
        name: of the score.
    """
    groups = [*((1.0, group) for group in added), *((-1.0, group) for group in taken)]
    known = [each for _, group in groups for each in group]
    if any(not np.array_equal(each.rows, known[0].rows) for each in known):
        return "other rows were scored"
    if len(known[0].rows) < 2:
        return "one item is too few for a test" if len(known[0].rows) else "there are no items"
    under = item_sums(known[0], name)[1]
    if any(not np.array_equal(item_sums(each, name)[1], under) for each in known):
        return "other units were counted in the same documents, as by another tokenizer"
    parts = [(sign, np.stack([item_sums(each, name)[0] for each in group])) for sign, group in groups]  # (seeds, items)
    values = [(over.sum(axis=1) / under.sum()).tolist() for _, over in parts]
    if reason := _explain_untested(*values):
        return reason
    difference = sum(sign * fmean(value) for (sign, _), value in zip(parts, values, strict=True))
    rest = (sum(sign * over.mean(axis=0) for sign, over in parts) - difference * under) / under.sum()
    count = len(under)
    terms = [(float(np.var(each, ddof=1)) / len(each), len(each) - 1) for each in values]
    terms.append((count / (count - 1) * float(rest @ rest), count - 1))
    variance = sum(term for term, _ in terms)
    degrees = variance**2 / sum(term**2 / free for term, free in terms)
    error = math.sqrt(variance)
    half = float(stats.t.ppf((1 + LEVEL) / 2, degrees)) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, degrees))
    seeds = len(added[0]), len(taken[0])
    return RecipeTest(difference, difference - half, difference + half, p, degrees, seeds, error, count)


def _explain_untested(*recipes: Sequence[float]) -> str:
    spreads = [compute_spread(values) for values in recipes]
    if None in spreads:
        return "fewer than two seeds"
    if not all(spread and spread.deviation for spread in spreads):
        return "the seeds of one are all the same: no spread over seeds"
    return ""
