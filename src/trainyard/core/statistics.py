"""Estimates with a standard error and a 95 % interval."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
from scipy import stats

LEVEL = 0.95
HALF_WIDTH = 1.96  # standard errors from a value to the end of its 95 % interval
FEWEST = 20  # observations that a bootstrap draws from: fewer say too little of their spread
ROUNDING = 1e-12  # of the largest observation: a smaller spread is that of sums in floating point


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error and its 95 % interval.

    One observation, or several that are all alike, say nothing of how far the figure would move:
    they give the value alone. A share has Wilson's interval where all agree, but no standard error.
    """

    value: float
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None

    def scale(self, factor: float) -> "Estimate":
        """The estimate of `factor` (above zero) times the quantity."""
        parts = (self.value, self.standard_error, self.low, self.high)
        return Estimate(*(None if part is None else part * factor for part in parts))  # pyright: ignore[reportArgumentType]

    def clamp(self, lower_bound: float, upper_bound: float) -> "Estimate":
        """The estimate of a quantity that lies from `lower_bound` to `upper_bound`, and so does its interval."""
        low, high = (None if end is None else min(upper_bound, max(lower_bound, end)) for end in (self.low, self.high))
        return replace(self, low=low, high=high)

    def exp(self) -> "Estimate":
        """The estimate of e to the quantity: standard error by the delta method, the interval's ends carried over.

        Infinite where a number can't hold it, as in a text that is one word of very many tokens; the value alone
        where a number can't hold the interval's upper end, as of two documents that differ much.
        """
        largest = math.log(sys.float_info.max)
        if self.value > largest:
            return Estimate(math.inf)
        value = math.exp(self.value)
        if self.standard_error is None or self.low is None or self.high is None or self.high > largest:
            return Estimate(value)
        return Estimate(value, value * self.standard_error, math.exp(self.low), math.exp(self.high))


Estimates = dict[str, Estimate]
PARTS = tuple(part.name for part in fields(Estimate))


def simultaneous_level(intervals: int) -> float:
    """The level of each of so many intervals that hold all at once in 95 %, by Bonferroni's inequality."""
    return 1 - (1 - LEVEL) / intervals


def all_equal(values: np.ndarray | Sequence[float]) -> bool:
    """Whether observations are all the same but for rounding: they say nothing of how far others would lie."""
    return bool(np.ptp(values) <= ROUNDING * np.abs(values).max())


def estimate_ratio(numerators: np.ndarray, denominators: np.ndarray) -> Estimate:
    """The ratio of two sums over independent observations, shapes `(n,)`.

    The variance is the delta method's, `n / (n - 1) * sum((y - r x)^2) / sum(x)^2`
    (Cochran, Sampling Techniques, chapter 6); the interval uses Student's t with
    n - 1 degrees of freedom. One observation, or the same ratio in all, gives the value alone.
    """
    count = len(numerators)
    total = float(denominators.sum())
    value = float(numerators.sum()) / total
    residuals = numerators - value * denominators
    if count < 2 or np.abs(residuals).max() <= ROUNDING * np.abs(numerators).max():
        return Estimate(value)
    error = math.sqrt(count / (count - 1) * float(residuals @ residuals)) / total
    width = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    return Estimate(value, error, value - width, value + width)


def estimate_proportion(correct: np.ndarray) -> Estimate:
    """The share of true values, shape `(n,)`.

    The standard error is `sqrt(p (1 - p) / (n - 1))`, as lm-evaluation-harness has
    it, but none where all agree; the interval is Wilson's, which holds at 0 and 1 too. One
    value has neither.
    """
    count = len(correct)
    value = float(np.mean(correct))
    if count < 2:
        return Estimate(value)
    interval = stats.binomtest(int(np.sum(correct)), count).proportion_ci(LEVEL, method="wilson")
    error = math.sqrt(value * (1 - value) / (count - 1)) or None
    return Estimate(value, error, float(interval.low), float(interval.high))


def bootstrap_means(scores: np.ndarray, resamples: int, seed: int) -> list[Estimate]:
    """The mean of each column of `scores`, shape `(rows, columns)`.

    Standard errors and intervals come from `resamples` draws of whole rows with replacement (numpy's PCG64 from
    `seed`). The interval is the bootstrap-t (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 12):
    quantiles of the resampled means' distance from the mean, each in its own standard errors. Percentiles are too
    narrow where most summaries have the same score and few have a far lower one. Fewer than 20 rows have Student's t
    instead. One row, or equal rows, give the value alone.
    """
    count = len(scores)
    if count < FEWEST:
        return [estimate_ratio(column, np.ones(count)) for column in scores.T]
    generator = np.random.default_rng(seed)
    resampled = (scores[generator.integers(0, count, count)] for _ in range(resamples))
    moments = np.array([(sample.mean(axis=0), sample.std(axis=0, ddof=1)) for sample in resampled])
    means, deviations = moments[:, 0], moments[:, 1]  # (resamples, columns)
    return [
        Estimate(float(column.mean()))
        if all_equal(column)
        else _studentise(column, means[:, place], deviations[:, place])
        for place, column in enumerate(scores.T)
    ]


def _studentise(column: np.ndarray, means: np.ndarray, deviations: np.ndarray) -> Estimate:
    """The mean of observations with its bootstrap-t interval, from means and deviations of resamples of them.

    A resample of equal observations is infinitely many of its standard errors away: so many of them that they reach
    the quantile leave the interval without an end there.
    """
    mean, error = float(column.mean()), float(column.std(ddof=1)) / math.sqrt(len(column))
    apart = means - mean
    with np.errstate(divide="ignore"):
        distances = apart / np.where(deviations > ROUNDING * np.abs(column).max(), deviations, 0.0)
    near, far = np.quantile(distances, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest") * math.sqrt(len(column))
    return Estimate(mean, float(means.std(ddof=1)), mean - float(far) * error, mean - float(near) * error)


def to_json(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """Estimates as they are in result files."""
    return {name: asdict(estimate) for name, estimate in estimates.items()}


def flatten_estimates(estimates: Mapping[str, Estimate]) -> dict[str, float | None]:
    """Estimates as the modules of `evaluate` return them: `acc`, `acc_standard_error`, `acc_low`, `acc_high`."""
    result: dict[str, float | None] = {}
    for name, estimate in estimates.items():
        result[name] = estimate.value
        for part in ("standard_error", "low", "high"):
            result[f"{name}_{part}"] = getattr(estimate, part)
    return result


def unflatten_estimates(values: Mapping[str, float | None], names: Iterable[str]) -> Estimates:
    """The estimates called `names` among flat values: what `flatten_estimates` was made of."""
    return {
        name: Estimate(float(value), *(values[f"{name}_{part}"] for part in ("standard_error", "low", "high")))
        for name in names
        if (value := values.get(name)) is not None
    }


def all_finite(numbers: np.ndarray | Sequence[float]) -> bool:
    """Whether every number is finite."""
    return bool(np.isfinite(numbers).all())


@dataclass(frozen=True)
class Score:
    """A value with its uncertainty.

    Attributes:
        value: in the metric's own unit.
        error: one standard error, or none where nothing tells it: of one item, or of items that all agree.
        low: the lower end of the 95 % interval, or none.
        high: the upper end of the 95 % interval, or none.
    """

    value: float
    error: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval: as measured, or 1.96 standard errors either way; none where nothing tells it."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        return (self.value - HALF_WIDTH * self.error, self.value + HALF_WIDTH * self.error) if self.error else None

    @property
    def error_bar(self) -> tuple[float, float]:
        """How far a drawing's bar reaches below and above the value: to the interval's ends, or nowhere."""
        low, high = self.interval or (self.value, self.value)
        return max(0.0, self.value - low), max(0.0, high - self.value)

    @property
    def effective_error(self) -> float | None:
        """One standard error; from the interval's farther end where all items agree; none where nothing tells it."""
        if not self.error and self.low is not None and self.high is not None:
            return max(self.value - self.low, self.high - self.value) / HALF_WIDTH
        return self.error or None


def z_score(first: Score, second: Score) -> float | None:
    """How many combined standard errors `first` lies above `second`; none where the error of either is unknown."""
    ours, theirs = first.effective_error, second.effective_error
    if ours is None or theirs is None or not (ours or theirs):
        return None
    return (first.value - second.value) / math.hypot(ours, theirs)
