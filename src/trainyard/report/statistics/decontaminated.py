"""Scores again on some of the items alone: those that share nothing with the training text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainyard.core.statistics import FEWEST, Estimate, Score, bootstrap_means, estimate_proportion, estimate_ratio
from trainyard.metrics import SCORES
from trainyard.report.results.item_scores import Items
from trainyard.report.statistics.paired_tests import CORRECT, UNITS

BITS = 1 / math.log(2)  # of a nat
WITHIN, BEYOND, FEW, ALIKE = "within noise", "beyond noise", "too few items", "all items agree"


@dataclass(frozen=True)
class Clean:
    """One score on the clean items, beside that on all.

    Attributes:
        value: on the clean items, with the error and the interval that an evaluation of them alone gives.
        difference: clean minus all.
        error: one standard error of the difference, which counts that the two scores share items; none where all
            items agree.
        fewer: how many items are clean, or are not, whichever is less.
    """

    value: Score
    difference: float
    error: float | None
    fewer: int

    @property
    def verdict(self) -> str:
        """`within noise`: the difference is less than two of its standard errors; `beyond noise`; or why neither."""
        if self.fewer < FEWEST:
            return FEW
        if self.error is None:
            return ALIKE
        return WITHIN if abs(self.difference) < 2 * self.error else BEYOND


def score_clean(items: Items, mask: np.ndarray, name: str, settings: Mapping[str, Any]) -> Clean:
    """One score, by its name in the result files, over the items that are `mask`, shape `(n,)`, of which one is.

    HellaSwag is a mean over items, a perplexity a ratio of sums over documents, ROUGE a mean over rows.
    `settings` are the evaluation's: a ROUGE's interval is a bootstrap by its `resamples` and `seed`.
    The error of the difference is the delta method's: an item weighs (y - c x) / X' where it is kept,
    less (y - r x) / X, c and r being the ratios of sums y over x, X' and X the sums of x.

    Raises:
        OverflowError: a number can't hold the perplexity of the clean documents.
    """
    over, under = _sums(items, name)
    estimate = _estimate(name, over, under, mask, settings)
    if not math.isfinite(estimate.value):
        raise OverflowError(name)
    whole, part = over.sum() / under.sum(), over[mask].sum() / under[mask].sum()
    weights = np.where(mask, over - part * under, 0) / under[mask].sum()
    form = SCORES[name].form if name in UNITS else "nats"
    if form == "exponential":
        weights = math.exp(part) * weights - math.exp(whole) * (over - whole * under) / under.sum()
        difference = math.exp(part) - math.exp(whole)
    else:
        scale = BITS if form == "bits" else 1.0
        weights = scale * (weights - (over - whole * under) / under.sum())
        difference = scale * (part - whole)
    count, varied = len(mask), estimate_ratio(over, under).standard_error is not None
    error = math.sqrt(count / (count - 1) * float(weights @ weights)) if varied else None
    value = Score(estimate.value, estimate.standard_error, estimate.low, estimate.high)
    return Clean(value, float(difference), error, min(int(mask.sum()), int((~mask).sum())))


def _sums(items: Items, name: str) -> tuple[np.ndarray, np.ndarray]:
    """What the score is a ratio of the sums of, for each item: shapes `(n,)`."""
    ones = np.ones(len(items.rows))
    if name in CORRECT:
        return items.columns[CORRECT[name]].astype(np.float64), ones
    if name in UNITS:
        return -items.columns["log_likelihood"], items.columns[UNITS[name]].astype(np.float64)
    return items.columns[name], ones


def _estimate(
    name: str, over: np.ndarray, under: np.ndarray, mask: np.ndarray, settings: Mapping[str, Any]
) -> Estimate:
    """The score of the kept items as an evaluation of them alone estimates it."""
    if name in CORRECT:
        return estimate_proportion(over[mask].astype(bool))
    if name in UNITS:
        estimate = estimate_ratio(over[mask], under[mask])
        form = SCORES[name].form
        return estimate.scale(BITS) if form == "bits" else estimate.exp() if form == "exponential" else estimate
    return bootstrap_means(over[mask][:, None], settings["resamples"], settings["seed"])[0].clamp(0, 100)
