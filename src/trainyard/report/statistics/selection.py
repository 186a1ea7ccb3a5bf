"""The interval of a score that was chosen because it is the best: that of one alone would be too narrow."""

from scipy import stats

from trainyard.core.statistics import LEVEL, Score
from trainyard.metrics import SCORES
from trainyard.report.statistics.paired_tests import CORRECT


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
    if value.interval is None or among < 2:
        return value
    level = 1 - (1 - LEVEL) / among
    low, high = value.interval
    if name in CORRECT:
        found = stats.binomtest(round(value.value * n), n).proportion_ci(level, method="wilson")
        return Score(value.value, value.error, float(found.low), float(found.high))
    wider = float(stats.norm.ppf((1 + level) / 2) / stats.norm.ppf((1 + LEVEL) / 2))
    if SCORES[name].form == "exponential":
        ends = [value.value * (end / value.value) ** wider for end in (low, high)]
    else:
        ends = [value.value + wider * (end - value.value) for end in (low, high)]
    if SCORES[name].points:
        ends = [min(100.0, max(0.0, end)) for end in ends]
    return Score(value.value, value.error, ends[0], ends[1])


def describe_choice(among: int) -> str:
    """What is said of an interval that is corrected for a choice; nothing of a single one."""
    return f" as the best of {among}" if among > 1 else ""


def widen_mean(half: float, degrees: float, among: int) -> float:
    """Half the width of a mean's interval by Student's t, corrected for the choice of the best of `among`."""
    level = 1 - (1 - LEVEL) / among
    return half * float(stats.t.ppf((1 + level) / 2, degrees) / stats.t.ppf((1 + LEVEL) / 2, degrees))
