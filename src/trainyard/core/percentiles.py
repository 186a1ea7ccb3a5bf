"""Percentiles of times; apart from the statistics that need scipy, which trainings do without."""

import statistics
from collections.abc import Sequence


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 10th and 90th percentile, by linear interpolation between the two nearest of `seconds`."""
    median = statistics.median(seconds)
    # `inclusive`: the slowest and the fastest step are the ends of what was seen
    tenths = statistics.quantiles(seconds, n=10, method="inclusive") if len(seconds) > 1 else [median] * 9
    return {"median": median, "p10": tenths[0], "p90": tenths[-1]}
