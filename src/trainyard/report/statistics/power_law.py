"""Loss against size: a law that levels off, L(N) = E + A / N^a, fitted to the runs of a study.

That is the form of Hoffmann et al. (2022, Training Compute-Optimal Large Language Models, equation 2) for models that
saw as much data. A power law without E, which a straight line on logarithmic axes is, has an exponent that depends on
the sizes that are looked at.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

from trainyard.core.statistics import LEVEL, all_equal

FEWEST_SIZES = 5  # for three parameters and something that tells how far they are off
FLATTEST, STEEPEST = 0.01, 2.0  # exponents that are looked at; those of language models are 0.05 to 0.5


@dataclass(frozen=True)
class PowerLaw:
    """loss = floor + scale / N ** exponent.

    Attributes:
        floor: the loss that no size goes below, in nats; not below zero.
        scale: A.
        exponent: a.
        low: the lower end of the exponent's 95 % interval; none where no exponent is too flat for the runs.
        high: the upper end; none where none is too steep.
    """

    floor: float
    scale: float
    exponent: float
    low: float | None
    high: float | None

    def loss(self, parameters: float) -> float:
        """The fitted loss of a size."""
        return self.floor + self.scale * parameters**-self.exponent

    def slopes(self, parameters: float) -> np.ndarray:
        """How the logarithm of the fitted loss changes with log E, log A and a: (3)."""
        size = self.scale * parameters**-self.exponent
        return np.array([self.floor, size, -math.log(parameters) * size]) / (self.floor + size)


def fit(sizes: Sequence[float] | np.ndarray, losses: Sequence[float] | np.ndarray) -> PowerLaw | None:
    """Fit the law to runs by least squares of the logarithm of their losses.

    None to fewer than five sizes, to losses that don't fall with size, and where the best exponent is one of the two
    that end the search: such runs don't determine it.

    The interval holds the exponents whose best fit is not worse than the best of all by the F test with 1 and
    runs - 3 degrees of freedom (Bates and Watts 1988, Nonlinear Regression Analysis, section 6.1): resampling five
    runs would leave out the truth three times as often as it says.

    Args:
        sizes: parameters without embeddings of each run; several runs may be of one size.
        losses: of each run, in nats, above zero.
    """
    if len(np.unique(sizes)) < FEWEST_SIZES or all_equal(losses):
        return None
    x, y = np.log(np.asarray(sizes, dtype=np.float64)), np.log(np.asarray(losses, dtype=np.float64))
    middle, targets = float(x.mean()), np.exp(y)

    def curve(exponent: float) -> tuple[float, float, np.ndarray]:
        """The best floor and scale of an exponent, both not below zero, and the losses that they give."""
        falling = np.exp(-exponent * (x - middle))
        columns = np.stack([np.ones_like(x), falling], axis=1) / targets[:, None]
        (floor, scale), _ = optimize.nnls(columns, np.ones_like(x))
        return float(floor), float(scale), floor + scale * falling

    def lack(exponent: float) -> float:
        return float(np.square(np.log(curve(exponent)[2]) - y).sum())

    grid = np.geomspace(FLATTEST, STEEPEST, 60)
    nearest = int(np.argmin([lack(exponent) for exponent in grid]))
    bounds = grid[max(0, nearest - 1)], grid[min(len(grid) - 1, nearest + 1)]
    found: Any = optimize.minimize_scalar(lack, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    exponent, degrees = float(found.x), len(x) - 3
    worst = lack(exponent) * (1 + float(stats.f.ppf(LEVEL, 1, degrees)) / degrees)
    low, high = (_cross(lack, worst, exponent, end) for end in (FLATTEST, STEEPEST))
    floor, scale, _ = curve(exponent)
    if not scale or not FLATTEST * 1.001 < exponent < STEEPEST * 0.999:
        return None
    return PowerLaw(floor, scale * math.exp(exponent * middle), exponent, low, high)


def _cross(lack: Callable[[float], float], worst: float, inside: float, outside: float) -> float | None:
    """Where a fit becomes worse than that, on the way from an exponent to another; none where it never does."""
    if lack(outside) <= worst:
        return None
    found: Any = optimize.brentq(lambda exponent: lack(exponent) - worst, inside, outside)
    return float(found)
