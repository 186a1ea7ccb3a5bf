"""Where a loss is lowest along a logarithmic axis: the minimum of a parabola fitted to runs, with its interval.

As Hoffmann et al. (2022, Training Compute-Optimal Large Language Models, section 3.2) find the best size of a compute.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

from trainyard.core.statistics import LEVEL

_FARTHEST = 3.0  # beyond the values tried, in the natural logarithm: where the ends of an interval are looked for


@dataclass(frozen=True)
class Minimum:
    """The lowest point of loss = height + bend (log x - log at)^2.

    Attributes:
        at: x there.
        height: the loss there.
        bend: above zero.
        low: the lower end of the 95 % interval of x; None where the runs set none, as with three of them.
        high: the upper end.
    """

    at: float
    height: float
    bend: float
    low: float | None
    high: float | None

    def loss(self, x: float) -> float:
        """The fitted loss."""
        return self.height + self.bend * math.log(x / self.at) ** 2


def find_minimum(values: Sequence[float], losses: Sequence[float]) -> Minimum | None:
    """Fit a parabola in the logarithm; None to fewer than three values, and where its lowest point is not among them.

    The interval holds the places whose best parabola is not worse by the F test with 1 and runs - 3 degrees of freedom
    (Bates and Watts 1988, Nonlinear Regression Analysis, section 6.1).

    Args:
        values: of each run, above zero; several runs may be of one value.
        losses: of each run.
    """
    if len(set(values)) < 3:
        return None
    x, y = np.log(np.asarray(values, dtype=np.float64)), np.asarray(losses, dtype=np.float64)
    bend, slope, _ = np.polyfit(x - x.mean(), y, 2)
    if bend <= 0:
        return None
    place = float(x.mean() - slope / (2 * bend))
    if not x.min() < place < x.max():
        return None

    def lack(at: float) -> float:
        return float(np.square(_fit_about(x, y, at)[2]).sum())

    height, bend, residuals = _fit_about(x, y, place)
    degrees, low, high = len(y) - 3, None, None
    if degrees > 0:
        worst = float(residuals @ residuals) * (1 + float(stats.f.ppf(LEVEL, 1, degrees)) / degrees)
        low, high = (_cross(lack, worst, place, end) for end in (x.min() - _FARTHEST, x.max() + _FARTHEST))
    return Minimum(math.exp(place), height, bend, low, high)


def _fit_about(x: np.ndarray, y: np.ndarray, at: float) -> tuple[float, float, np.ndarray]:
    """The best parabola whose lowest point is there: its height, its bend and the residuals."""
    columns = np.stack([np.ones_like(x), (x - at) ** 2], axis=1)
    (height, bend), *_ = np.linalg.lstsq(columns, y, rcond=None)
    return float(height), float(bend), y - columns @ np.array([height, bend])


def _cross(lack: Callable[[float], float], worst: float, inside: float, outside: float) -> float | None:
    """Where a parabola about a place becomes worse than that, on the way out; None where it never does."""
    steps = np.linspace(inside, outside, 60)
    beyond = next((index for index, at in enumerate(steps) if lack(float(at)) > worst), None)
    if not beyond:
        return None
    found: Any = optimize.brentq(lambda at: lack(at) - worst, steps[beyond - 1], steps[beyond])
    return math.exp(float(found))
