"""Loss by size and tokens, L(N, D) = E + A / N^a + B / D^b, fitted to the runs of a study.

That is the third approach of Hoffmann et al. (2022, Training Compute-Optimal Large Language Models, section 3.3): the
Huber loss of the logarithm, so that a run that went astray bends no exponent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import optimize

from trainyard.core.statistics import LEVEL

Values = Sequence[float] | np.ndarray

FEWEST_RUNS = 8  # for five parameters and something that tells how far they are off
FEWEST_LEVELS = 3  # sizes, and budgets of tokens: through two of them goes a law without E
_APART = 0.1  # of the logarithms: how far sizes and tokens scatter at least about a line through them
_HUBER = 1e-3  # the paper's delta
_EXPONENTS = np.geomspace(0.05, 2.0, 12)  # where the search starts
_POLISHED = 8  # of these starts
_STEPS = 500  # at most, of a descent
_AT_ONCE = 500  # draws of a bootstrap, whose arrays then stay small
_NO_FLOOR = 1e-2  # nats: an E that nothing tells from none
_NOTHING = 1e-3  # nats: what size or tokens add to the loss where it does not depend on them


@dataclass(frozen=True)
class ChinchillaLaw:
    """loss = floor + size_scale / N ** size_exponent + tokens_scale / D ** tokens_exponent.

    Attributes:
        floor: E, the loss that no size and no data go below, in nats.
        size_scale: A.
        size_exponent: a.
        tokens_scale: B.
        tokens_exponent: b.
    """

    floor: float
    size_scale: float
    size_exponent: float
    tokens_scale: float
    tokens_exponent: float

    def loss(self, parameters: float, tokens: float) -> float:
        """The fitted loss, in nats per token."""
        return (
            self.floor
            + self.size_scale * parameters**-self.size_exponent
            + self.tokens_scale * tokens**-self.tokens_exponent
        )

    def slopes(self, parameters: float, tokens: float) -> np.ndarray:
        """How the logarithm of the fitted loss changes with log E, log A, a, log B and b: (5)."""
        size = self.size_scale * parameters**-self.size_exponent
        data = self.tokens_scale * tokens**-self.tokens_exponent
        terms = [self.floor, size, -math.log(parameters) * size, data, -math.log(tokens) * data]
        return np.array(terms) / (self.floor + size + data)

    def optimal(self, flops: float) -> tuple[float, float]:
        """The parameters and tokens of least loss at a compute of 6 N D (equation 4 of the paper)."""
        both = self.size_exponent + self.tokens_exponent
        ratio = self.size_exponent * self.size_scale / (self.tokens_exponent * self.tokens_scale)
        parameters = ratio ** (1 / both) * (flops / 6) ** (self.tokens_exponent / both)
        return parameters, flops / 6 / parameters


@dataclass(frozen=True)
class Intervals:
    """The 95 % intervals of a law's parameters, by a bootstrap over runs.

    Attributes:
        floor: of E; None where some draws have an E that nothing tells from none.
        size_exponent: of a.
        tokens_exponent: of b.
    """

    floor: tuple[float, float] | None
    size_exponent: tuple[float, float]
    tokens_exponent: tuple[float, float]


class _Runs:
    """Runs on logarithmic axes about their middle, where the parameters hardly depend on one another."""

    def __init__(self, sizes: Values, tokens: Values, losses: Values) -> None:
        self.x, self.y, self.targets = (np.log(np.asarray(v, dtype=np.float64)) for v in (sizes, tokens, losses))
        self.middle = float(self.x.mean()), float(self.y.mean())
        self.x, self.y = self.x - self.middle[0], self.y - self.middle[1]

    def determine(self, counts: np.ndarray) -> bool:
        """Whether those that are drawn have sizes and tokens enough, and not tokens that follow from the size."""
        x, y = self.x[counts > 0], self.y[counts > 0]
        levels = min(len(np.unique(x.round(9))), len(np.unique(y.round(9))))
        if levels < FEWEST_LEVELS:
            return False
        deviations = np.linalg.svd(np.stack([x - x.mean(), y - y.mean()]), compute_uv=False) / math.sqrt(len(x))
        return bool(deviations.min() > _APART)

    def draw(self, draws: int, random: np.random.Generator) -> np.ndarray:
        """How often each run is drawn in each of so many draws that determine a law: (draws, runs)."""
        count, found = len(self.x), []
        while len(found) < draws:
            counts = np.bincount(random.integers(0, count, count), minlength=count)
            if self.determine(counts):
                found.append(counts)
        return np.array(found, dtype=np.float64)

    def evaluate(self, laws: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The summed Huber loss of laws, (laws); the residuals of the runs; and the share of each term in their losses.

        Laws are (log E, log A, a, log B, b) about the middle, (laws, 5); `counts` says how often each run counts,
        (laws, runs). The last two are (laws, runs) and (3, laws, runs).
        """
        floor, size_scale, size_exponent, tokens_scale, tokens_exponent = laws.T[:, :, None]
        terms = np.stack(
            np.broadcast_arrays(floor, size_scale - size_exponent * self.x, tokens_scale - tokens_exponent * self.y)
        )
        fitted = np.logaddexp.reduce(terms)
        residuals = fitted - self.targets
        size = np.abs(residuals)
        huber = np.where(size <= _HUBER, residuals**2 / 2, _HUBER * (size - _HUBER / 2))
        return (counts * huber).sum(1), residuals, np.exp(terms - fitted)

    def descend(self, laws: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The minimum near each law, all at once: its summed loss, (laws), and itself, (laws, 5).

        Levenberg and Marquardt's damped steps of reweighted least squares, in which a run that is further off than
        delta weighs as much less (Huber 1981, Robust Statistics, section 7.8).
        """
        laws, objective = laws.copy(), self.evaluate(laws, counts)[0]
        damping, moving = np.full(len(laws), 1e-3), np.arange(len(laws))
        for _ in range(_STEPS):
            step = self._step(laws[moving], counts[moving], damping[moving])
            tried = laws[moving] + step
            with np.errstate(over="ignore", invalid="ignore"):  # a step too far is not taken
                new = self.evaluate(tried, counts[moving])[0]
            better = new < objective[moving]
            gained = objective[moving] - new
            laws[moving[better]], stays = tried[better], np.where(better, gained > 1e-9 * objective[moving], True)
            objective[moving[better]] = new[better]
            damping[moving] *= np.where(better, 0.1, 10.0)
            moving = moving[stays & (damping[moving] < 1e6)]
            if not len(moving):
                break
        return objective, laws

    def _step(self, laws: np.ndarray, counts: np.ndarray, damping: np.ndarray) -> np.ndarray:
        """From each law towards the minimum of its reweighted least squares: (laws, 5)."""
        _, residuals, parts = self.evaluate(laws, counts)
        slopes = np.stack([parts[0], parts[1], -self.x * parts[1], parts[2], -self.y * parts[2]], axis=1)
        weighed = (counts * np.minimum(1, _HUBER / np.maximum(np.abs(residuals), _HUBER)))[:, None] * slopes
        square = weighed @ slopes.transpose(0, 2, 1)  # (laws, 5, 5)
        square[:, range(5), range(5)] *= 1 + np.maximum(damping, 1e-9)[:, None]
        square[:, range(5), range(5)] += 1e-12
        return -np.linalg.solve(square, weighed @ residuals[:, :, None])[:, :, 0]

    def starts(self) -> np.ndarray:
        """The best E, A and B of each pair of exponents, by least squares of relative errors: (laws, 5)."""
        everyone = np.ones_like(self.x)
        found = []
        for size_exponent, tokens_exponent in product(_EXPONENTS, _EXPONENTS):
            columns = np.stack([everyone, np.exp(-size_exponent * self.x), np.exp(-tokens_exponent * self.y)], axis=1)
            factors, _ = optimize.nnls(columns / np.exp(self.targets)[:, None], everyone)
            floor, size_scale, tokens_scale = np.log(np.maximum(factors, 1e-4))
            found.append([floor, size_scale, size_exponent, tokens_scale, tokens_exponent])
        return np.array(found)


def fit(sizes: Values, tokens: Values, losses: Values) -> ChinchillaLaw | None:
    """Fit the law to runs; None where they don't determine it, as where losses don't fall with size or with tokens.

    Args:
        sizes: parameters of each run.
        tokens: that each was trained on, to the end of its schedule.
        losses: of each run, in nats per token, above zero.
    """
    if len(set(zip(sizes, tokens, strict=True))) < FEWEST_RUNS:
        return None
    runs = _Runs(sizes, tokens, losses)
    best = _fit(runs)
    return None if best is None else _law(best, runs.middle)


def bootstrap(sizes: Values, tokens: Values, losses: Values, draws: int = 1000, seed: int = 0) -> Intervals | None:
    """How far the law hangs on which runs there are; arguments as of `fit`, and None where that gives none.

    A draw whose runs don't determine a law is drawn again.
    """
    if len(set(zip(sizes, tokens, strict=True))) < FEWEST_RUNS:
        return None
    runs = _Runs(sizes, tokens, losses)
    best = _fit(runs)
    if best is None:
        return None
    counts = runs.draw(draws, np.random.default_rng(seed))
    parts = np.array_split(counts, -(-draws // _AT_ONCE))
    laws = np.concatenate([runs.descend(np.tile(best, (len(part), 1)), part)[1] for part in parts])
    ends = 50 * (1 - LEVEL), 50 * (1 + LEVEL)
    lows, highs = np.percentile(laws, ends, axis=0)
    return Intervals(
        (math.exp(lows[0]), math.exp(highs[0])) if math.exp(lows[0]) > _NO_FLOOR else None,
        (float(lows[2]), float(highs[2])),
        (float(lows[4]), float(highs[4])),
    )


def _fit(runs: _Runs) -> np.ndarray | None:
    if not runs.determine(np.ones_like(runs.x)):
        return None
    starts = runs.starts()
    everyone = np.ones((len(starts), len(runs.x)))
    nearest = np.argsort(runs.evaluate(starts, everyone)[0])[:_POLISHED]
    objective, found = runs.descend(starts[nearest], everyone[nearest])
    best = found[int(np.argmin(objective))]
    lowest, highest = _EXPONENTS[0] / 5, _EXPONENTS[-1] * 2
    fall = all(lowest < exponent < highest for exponent in (best[2], best[4]))
    return best if fall and min(best[1], best[3]) > math.log(_NOTHING) else None


def _law(parameters: np.ndarray, middle: tuple[float, float]) -> ChinchillaLaw:
    floor, size_scale, size_exponent, tokens_scale, tokens_exponent = (float(value) for value in parameters)
    return ChinchillaLaw(
        math.exp(floor),
        math.exp(size_scale + size_exponent * middle[0]),
        size_exponent,
        math.exp(tokens_scale + tokens_exponent * middle[1]),
        tokens_exponent,
    )
