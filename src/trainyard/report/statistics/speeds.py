"""Which of several cells is fastest, from launches that took turns: an interval of each speed, and ties."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from trainyard.core.statistics import LEVEL, Estimate, all_equal, simultaneous_level
from trainyard.report.results.measurements import COORDINATES, MeasuredCell

GROUP = tuple(name for name in COORDINATES if name != "parallel")
"""Cells that are alike in these, and on one kind of device, compare: they differ in their parallel setting alone."""


@dataclass(frozen=True)
class Ranking:
    """Cells that compare, the fastest first.

    Attributes:
        speeds: of each its tokens/s, with their interval over launches.
        fastest: the first one's, with an interval corrected for the choice of the fastest.
        tied: how many of the first can't be told from the fastest, itself counted; None where nothing tells.
        detectable: the smallest ratio of two speeds, less one, that counts as a difference.
        reason: why nothing tells.
    """

    cells: list[MeasuredCell]
    speeds: list[Estimate]
    fastest: Estimate
    tied: int | None
    detectable: float | None = None
    reason: str = ""


def rank_cells(cells: Sequence[MeasuredCell], among: int | None = None) -> list[Ranking]:
    """Of the cells with a speed those that compare, each group from the fastest to the slowest.

    Args:
        cells: any.
        among: how many a fastest one is chosen from; as many as compare with it by default.
    """
    groups: dict[tuple[object, ...], list[MeasuredCell]] = {}
    for cell in cells:
        if cell["tokens_per_second"] is not None:
            groups.setdefault((*(cell[name] for name in GROUP), cell["device_name"]), []).append(cell)
    return [_rank(group, among or len(group)) for group in groups.values()]


def _rank(cells: Sequence[MeasuredCell], among: int) -> Ranking:
    ordered = sorted(cells, key=lambda cell: -cell["tokens_per_second"])
    launches = [[launch["tokens_per_second"] for launch in cell["launches"]] for cell in ordered]
    counts = {len(speeds) for speeds in launches}
    if counts == {1}:
        estimates = [Estimate(cell["tokens_per_second"]) for cell in ordered]
        return Ranking(ordered, estimates, estimates[0], None, reason="one launch each")
    if len(counts) > 1:
        estimates = [estimate_speeds([speeds])[0] for speeds in launches]
        fastest = estimate_speeds(launches[:1], among)[0]
        return Ranking(ordered, estimates, fastest, None, reason="not equally many launches")
    estimates, fastest = estimate_speeds(launches), estimate_speeds(launches, among)[0]
    if len(ordered) == 1:
        return Ranking(ordered, estimates, fastest, 1)
    if not _took_turns(ordered):
        return Ranking(ordered, estimates, fastest, None, reason="measured at other times, not in turn")
    difference = find_least_difference(launches)
    if difference is None:
        return Ranking(ordered, estimates, fastest, None, reason="launches that are all alike tell no error")
    top = math.log(estimates[0].value)
    tied = sum(top - math.log(estimate.value) <= difference for estimate in estimates)
    return Ranking(ordered, estimates, fastest, tied, math.expm1(difference))


def estimate_speeds(launches: Sequence[Sequence[float]], among: int = 1) -> list[Estimate]:
    """The geometric mean of each cell's launches, with a 95 % interval, or one that holds for the best of `among` too.

    Student's t on logarithms, with the spread between launches pooled over the cells (k (r - 1) degrees of freedom of k
    cells with r launches each). A median of three launches has no such interval: all three enclose it in 75 %.
    """
    logs = np.log(np.asarray(launches, dtype=float))
    cells, count = logs.shape
    means = logs.mean(axis=1)
    if count < 2 or all(all_equal(row) for row in logs):
        return [Estimate(float(value)) for value in np.exp(means)]
    error = math.sqrt(float(logs.var(axis=1, ddof=1).mean()) / count)
    width = float(stats.t.ppf((1 + simultaneous_level(among)) / 2, cells * (count - 1))) * error
    return [Estimate(float(mean), error, float(mean) - width, float(mean) + width).exp() for mean in means]


def find_least_difference(launches: Sequence[Sequence[float]]) -> float | None:
    """The smallest difference of two cells' mean logarithms that is none of chance, for all pairs at once.

    Tukey's honestly significant difference (Tukey 1949, Biometrics 5, 99-114) in a randomised block design: a round, in
    which each cell is launched once, is a block, so that what slows a whole round down slows no cell more than another.
    Of cells that are all equal any pair is told apart in 5 % at most.

    Args:
        launches: tokens/s of two or more cells, (cells, launches), two or more each; the n-th launches are a round.

    Returns:
        None where launches differ by cell and round alone, so that nothing tells the error.
    """
    logs = np.log(np.asarray(launches, dtype=float))
    cells, rounds = logs.shape
    residuals = logs - logs.mean(axis=1, keepdims=True) - logs.mean(axis=0, keepdims=True) + logs.mean()
    degrees = (cells - 1) * (rounds - 1)
    error = math.sqrt(float((residuals**2).sum()) / degrees / rounds)
    if error <= 1e-12:
        return None
    return _studentized_range(cells, degrees) * error


@functools.cache
def _studentized_range(cells: int, degrees: int) -> float:
    """The quantile of the range of so many means in units of their standard error; a second's integration."""
    return float(stats.studentized_range.ppf(LEVEL, cells, degrees))


def _took_turns(cells: Sequence[MeasuredCell]) -> bool:
    """Whether every cell's first launch began before any cell's last one."""
    begun = [[launch["started"] for launch in cell["launches"]] for cell in cells]
    return max(min(times) for times in begun) < min(max(times) for times in begun)
