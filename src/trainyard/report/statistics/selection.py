"""The interval of a score that was chosen because it is the best: that of one alone would be too narrow."""

import math
import sys
from collections.abc import Sequence

from scipy import stats

from trainyard.core.power import FEWEST_SEEDS
from trainyard.core.statistics import LEVEL, Score, simultaneous_level
from trainyard.metrics import SCORES
from trainyard.report.statistics.paired_tests import CORRECT
from trainyard.report.statistics.seeds import compute_spread

LARGEST = math.log(sys.float_info.max)


def correct_for_choice(value: Score, name: str, n: int, among: int) -> Score:
    """The score with an interval of the level that holds for `among` of them at once, and so for the best of them.

    The best of several equal models is the luckiest: of 8 on 2,000 items its own 95 % interval holds the truth in
    80 %. Each interval at 1 - 0.05 / k is missed so rarely that all k hold together in 95 % (Bonferroni's
    inequality; Miller 1981, Simultaneous Statistical Inference), whichever is chosen.

    Args:
        value: the score with its 95 % interval; without one it stays as it is.
        name: of the score in the result files.
        n: how many items it is a mean over.
        among: how many the best was chosen from.
    """
    if value.interval is None or among < 2 or n < 2:
        return value
    if name in CORRECT:
        level = simultaneous_level(among)
        found = stats.binomtest(round(value.value * n), n).proportion_ci(level, method="wilson")
        return Score(value.value, value.error, float(found.low), float(found.high))
    low, high = value.interval
    wider = _widen(n - 1, among)
    if SCORES[name].form == "exponential":
        if low <= 0:
            return Score(value.value)
        middle, *logs = (math.log(each) for each in (value.value, low, high))
        ends = [middle + wider * (end - middle) for end in logs]
        low, high = (math.exp(end) if end < LARGEST else math.inf for end in ends)
    else:
        low, high = (value.value + wider * (end - value.value) for end in (low, high))
    return Score(value.value, value.error, max(0.0, low), min(100.0, high) if SCORES[name].points else high)


def describe_choice(among: int) -> str:
    """What is said of an interval that is corrected for a choice; nothing of a single one."""
    return f", corrected for choosing the best of {among}" if among > 1 else ""


def mean_interval(values: Sequence[float], name: str, among: int) -> tuple[float, float] | None:
    """The interval of a mean over seeds by Student's t, corrected for the choice of the best of `among`.

    None of two seeds, which hardly tell their own spread, or of equal ones. That of a perplexity is of its logarithm.
    """
    is_exponential = name in SCORES and SCORES[name].form == "exponential"
    summary = compute_spread([math.log(value) for value in values] if is_exponential else values)
    if summary is None or summary.low is None or summary.n < FEWEST_SEEDS:
        return None
    half = (summary.mean - summary.low) * _widen(summary.n - 1, among)
    low, high = summary.mean - half, summary.mean + half
    if is_exponential:
        return math.exp(low), math.exp(min(high, LARGEST))
    if name in SCORES and SCORES[name].is_bounded:
        high = min(1.0 if name in CORRECT else 100.0, high)
    return max(0.0, low), high


def _widen(degrees: float, among: int) -> float:
    """How many times wider an interval by Student's t is that holds for so many at once."""
    return float(stats.t.ppf((1 + simultaneous_level(among)) / 2, degrees) / stats.t.ppf((1 + LEVEL) / 2, degrees))
