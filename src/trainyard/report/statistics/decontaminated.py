"""Contaminated items beside clean ones: scores on the clean ones alone, and whether the others score differently."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from trainyard.core.statistics import (
    LEVEL,
    ROUNDING,
    Estimate,
    Score,
    bootstrap_means,
    estimate_proportion,
    estimate_ratio,
)
from trainyard.metrics import SCORES
from trainyard.report.results.item_scores import SEED, Items
from trainyard.report.statistics.paired_tests import CORRECT, UNITS, item_sums

BITS = 1 / math.log(2)  # of a nat
PERMUTATIONS = 1_999  # the smallest p is 1 in 2,000
LENGTHS = 5  # strata of about as many items each, where items have no levels
AT_ONCE = 2**22  # random numbers that are held in memory
Stratum = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of a stratum's items what the score is a ratio of the sums of, and which are contaminated: shapes `(n,)`."""


@dataclass(frozen=True)
class StratifiedTest:
    """What contaminated items score minus what clean ones do, compared within strata of equal difficulty.

    Attributes:
        difference: the mean over strata, by the weights of Mantel and Haenszel (1959, Journal of the National Cancer
            Institute 22, 719-748); of a mean loss in nats.
        low: the lower end of its 95 % interval.
        high: the upper end.
        p: of a permutation test, two-sided.
        strata: how many strata have items of both kinds.
    """

    difference: float
    low: float
    high: float
    p: float
    strata: int


def score_clean(items: Items, mask: np.ndarray, name: str, settings: Mapping[str, Any]) -> Score:
    """One score, by its name in the result files, over the items that are `mask`, shape `(n,)`, of which one is.

    It has the error and the interval that an evaluation of these items alone gives: `settings` are the evaluation's.

    Raises:
        OverflowError: a number can't hold the perplexity of the clean documents.
    """
    over, under = item_sums(items, name)
    estimate = _estimate(name, over[mask], under[mask], settings)
    if not math.isfinite(estimate.value):
        raise OverflowError(name)
    return Score(estimate.value, estimate.standard_error, estimate.low, estimate.high)


def make_strata(items: Items, lengths: np.ndarray) -> np.ndarray:
    """A number for each item, shape `(n,)`: of its level, or where there are no levels of its fifth by length.

    What is contaminated differs from what isn't in more than that: items of one level are made from few templates,
    and long documents share more.

    Args:
        items: the items.
        lengths: how many n-grams each has, shape `(n,)`.
    """
    if items.levels is not None and len(set(items.levels)) > 1:
        return np.unique(items.levels.astype(str), return_inverse=True)[1]
    if not len(lengths):
        return np.zeros(0, dtype=np.int64)
    ends = np.quantile(lengths, np.arange(1, LENGTHS) / LENGTHS)
    return np.searchsorted(np.unique(ends), lengths, side="right")


def compare_within_strata(
    items: Items, contaminated: np.ndarray, strata: np.ndarray, name: str
) -> StratifiedTest | str:
    """Compare contaminated items with clean ones of the same stratum; a text says why it can't be done.

    The test is exact however few the items are: within its strata every choice of as many contaminated items is as
    likely as that which was found, if being contaminated makes no difference (`PERMUTATIONS` of them are drawn).
    The interval is Newcombe's for a share (1998, Statistics in Medicine 17, 873-890), stratum by stratum, and
    Student's t for a mean or a ratio, whose spread within strata and kinds is pooled; it has no ends where two items a
    stratum leave no spread.

    Args:
        items: the items.
        contaminated: which of them are, shape `(n,)`.
        strata: the stratum of each, shape `(n,)`.
        name: of the score.
    """
    over, under = item_sums(items, name)
    mixed = [
        members
        for stratum in np.unique(strata)
        if 0 < contaminated[members := np.flatnonzero(strata == stratum)].sum() < len(members)
    ]
    if not mixed:
        return "no stratum has both contaminated and clean items"
    if not np.isfinite(over).all():
        return "a score is not a finite number"
    weights = np.array([_weight(contaminated[members]) for members in mixed])
    weights /= weights.sum()
    generator = np.random.Generator(np.random.PCG64(SEED))  # one for all strata, which are permuted independently
    parts = [(over[members], under[members], contaminated[members]) for members in mixed]
    differences = np.sum([w * _permute(*part, generator) for w, part in zip(weights, parts, strict=True)], axis=0)
    below, above = _newcombe(parts, weights) if name in CORRECT else _student(parts, weights)
    difference = float(differences[0])
    reached = np.abs(differences) >= abs(difference) - ROUNDING * np.abs(over).max()
    return StratifiedTest(difference, difference - below, difference + above, float(reached.mean()), len(mixed))


def _weight(contaminated: np.ndarray) -> float:
    some, count = int(contaminated.sum()), len(contaminated)
    return some * (count - some) / count


def _permute(
    over: np.ndarray, under: np.ndarray, contaminated: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """A stratum's difference, as it is and by permutations of which are contaminated: `(1 + PERMUTATIONS,)`."""
    some, count = int(contaminated.sum()), len(over)
    many = max(1, AT_ONCE // count)
    choices = [np.flatnonzero(contaminated)[None]]  # each (permutations, contaminated)
    for done in range(0, PERMUTATIONS, many):
        order = generator.random((min(many, PERMUTATIONS - done), count))
        choices.append(np.argpartition(order, some - 1, axis=1)[:, :some])
    those = np.concatenate([over[chosen].sum(axis=1) for chosen in choices])
    of_those = np.concatenate([under[chosen].sum(axis=1) for chosen in choices])
    return those / of_those - (over.sum() - those) / (under.sum() - of_those)


def _newcombe(parts: Sequence[Stratum], weights: np.ndarray) -> tuple[float, float]:
    """How far the interval of a mean difference of shares reaches below it and above it."""
    below = above = 0.0
    for (correct, _, contaminated), weight in zip(parts, weights, strict=True):
        ends = []
        for kind in (correct[contaminated], correct[~contaminated]):
            value = float(kind.mean())
            found = stats.binomtest(int(kind.sum()), len(kind)).proportion_ci(LEVEL, "wilson")
            ends.append((value - float(found.low), float(found.high) - value))
        (first_low, first_high), (second_low, second_high) = ends
        below = math.hypot(below, weight * first_low, weight * second_high)
        above = math.hypot(above, weight * first_high, weight * second_low)
    return below, above


def _student(parts: Sequence[Stratum], weights: np.ndarray) -> tuple[float, float]:
    """How far the interval of a mean difference of means or ratios reaches below it and above it, by one spread."""
    squares, degrees, per_variance = 0.0, 0, 0.0
    for (over, under, contaminated), weight in zip(parts, weights, strict=True):
        for kind in (contaminated, ~contaminated):
            residuals = over[kind] - over[kind].sum() / under[kind].sum() * under[kind]
            squares += float(np.square(residuals / under[kind].mean()).sum())
            degrees += int(kind.sum()) - 1
            per_variance += weight**2 / int(kind.sum())
    if not degrees:
        return math.inf, math.inf
    margin = float(stats.t.ppf((1 + LEVEL) / 2, degrees)) * math.sqrt(squares / degrees * per_variance)
    return margin, margin


def _estimate(name: str, over: np.ndarray, under: np.ndarray, settings: Mapping[str, Any]) -> Estimate:
    """The score of items as an evaluation of them alone estimates it."""
    if name in CORRECT:
        return estimate_proportion(over.astype(bool))
    if name in UNITS:
        estimate = estimate_ratio(over, under)
        form = SCORES[name].form
        return estimate.scale(BITS) if form == "bits" else estimate.exp() if form == "exponential" else estimate
    return bootstrap_means(over[:, None], settings["resamples"], settings["seed"])[0].clamp(0, 100)
