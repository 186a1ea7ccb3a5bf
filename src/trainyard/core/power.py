"""What difference a comparison can find."""

from typing import Any

import numpy as np
from scipy import optimize, stats

from trainyard.core.statistics import LEVEL

POWER = 0.8
FEWEST_SEEDS = 3  # two hardly tell their own spread


def find_detectable(error: float, degrees: float, tests: int = 1) -> float:
    """About what difference a two-sided t-test finds with a power of 80 %, at 5 % over so many tests.

    About, since the standard error is itself estimated with so few degrees of freedom.
    """
    bound = float(stats.t.isf((1 - LEVEL) / 2 / max(1, tests), degrees))

    def lack(distance: float) -> float:
        # far in the tail scipy's noncentral t is not a number: the power is 1 there
        return POWER - float(np.nan_to_num(stats.nct.sf(bound, degrees, distance), nan=1.0))

    distance: Any = optimize.brentq(lack, 0.0, 10.0 * bound)
    return error * distance
