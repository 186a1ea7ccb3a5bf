"""Which of several models, or of several configurations, is better: their pairs under a test, and how to say so."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from trainyard.metrics import METRICS, SCORES
from trainyard.report.render.format import PERCENT, fixed, scientific
from trainyard.report.results.item_scores import RESAMPLES
from trainyard.report.results.runs import Evaluation
from trainyard.report.statistics.paired_tests import UNITS, Paired, holm, paired
from trainyard.report.statistics.seeds import WELCH, Repeated, Welch, welch

SIGNIFICANT = 0.05
LEAST = 1e-6  # of a p-value that is told: smaller ones say the same
MOST = 8  # models: of more, only the best is set against the others
BETTER, WITHIN, UNTESTED = "better", "within noise", "not tested"


@dataclass(frozen=True)
class Pair:
    """Two of a group.

    Attributes:
        first: place of the one with the better figure.
        second: place of the other.
        found: the test of first minus second, or why there is none.
        p: its p-value after Holm's correction over the tests of the same score.
        tests: how many those are.
    """

    first: int
    second: int
    found: Paired | Welch | str
    p: float | None = None
    tests: int = 0

    @property
    def verdict(self) -> str:
        """`better`: the first is, at the level of 5 %; `within noise`; or `not tested`."""
        return UNTESTED if self.p is None else BETTER if self.p < SIGNIFICANT else WITHIN


def pairs(group: Sequence[Evaluation], name: str) -> list[Pair]:
    """Pairs of models by one score, under the paired test of its metric."""
    return family(ranking(group, name), lambda first, second: paired(group[first], group[second], name))


def pairs_over_seeds(figure: Repeated) -> list[Pair]:
    """Pairs of configurations by one figure, under Welch's test."""
    return family(figure.ranking, lambda first, second: welch(figure.values[first], figure.values[second]))


def family(order: Sequence[int], test: Callable[[int, int], Paired | Welch | str]) -> list[Pair]:
    """Every pair of a group, given from best to worst; of more than 8 members the best against each other one.

    Holm's correction is over all pairs, those that are left out too: the best was chosen from all of them.
    """
    whole = len(order) <= MOST
    chosen = combinations(order, 2) if whole else ((order[0], other) for other in order[1:])
    made = [Pair(first, second, test(first, second)) for first, second in chosen]
    values = [pair.found.p for pair in made if not isinstance(pair.found, str)]
    tests = len(values) if whole else len(values) * (len(values) + 1) // 2
    adjusted = iter(holm(values, tests))
    return [pair if isinstance(pair.found, str) else replace(pair, p=next(adjusted), tests=tests) for pair in made]


def ranking(group: Sequence[Evaluation], name: str) -> list[int]:
    """Places of a group's members from the best score to the worst."""
    return sorted(
        range(len(group)),
        key=lambda place: group[place].scores[name].value,
        reverse=METRICS[group[0].metric].higher_is_better,
    )


def unit(name: str, found: Paired | Welch) -> str:
    """The unit of a difference as it is shown; a perplexity's under a paired test is in percent of it."""
    kind = SCORES.get(name)
    if kind is None:
        return "nats"  # a loss of a training
    if kind.unit is None:
        return "points" if kind.is_bounded else ""
    if kind.form == "exponential":
        return "%" if isinstance(found, Paired) else ""
    return "bits" if kind.form == "bits" and isinstance(found, Welch) else "nats"


def raw_unit(name: str, found: Paired | Welch) -> str:
    """The unit of a difference as the CSV has it."""
    if isinstance(found, Paired) and name in UNITS:
        return f"nats a {UNITS[name].removesuffix('s')}"
    return "share" if name in PERCENT else unit(name, found)


def apart(name: str, found: Paired | Welch) -> tuple[str, str]:
    """A difference as it is shown, with its unit, and its interval: `+1.4 points`, `[0.3, 2.5]`."""
    of = unit(name, found)
    parts = [_shown(name, of, part) for part in (found.difference, found.low, found.high)]
    width = parts[2] - parts[1]
    digits = 1 if width >= 1 or width < 1e-9 else min(4, 1 - math.floor(math.log10(width)))  # two that count
    value, low, high = (fixed(part, digits) for part in parts)
    signed = value if parts[0] <= 0 else f"+{value}"
    return f"{signed} {of}".strip(), f"[{low}, {high}]"


def likely(p: float) -> str:
    """A p-value as it is read: `0.031`; below a millionth no more than that."""
    if p < LEAST:
        return f"< {scientific(LEAST)}"
    return scientific(p) if p < 0.001 else fixed(p, 3 if p < 0.1 else 2)


def probability(p: float) -> str:
    """A p-value in a sentence: `p = 0.031`, `p < 1e-6`."""
    return f"p {likely(p)}" if p < LEAST else f"p = {likely(p)}"


def told(name: str, pair: Pair) -> str:
    """A pair's difference, first minus second: interval, p, test and sizes; or why there is no test."""
    found = pair.found
    if isinstance(found, str) or pair.p is None:
        return f"not tested ({found})"
    value, interval = apart(name, found)
    text = f"{value}, 95 % interval {interval}, {probability(found.p)}"
    if pair.tests > 1:
        text += f" ({likely(pair.p)} by Holm over {pair.tests} tests)"
    return f"{text}; {name_of(found)}, {sizes(found)}: {pair.verdict}"


def sizes(found: Paired | Welch) -> str:
    """What a test is made on."""
    if isinstance(found, Welch):
        return "{} and {} seeds, whose spreads {}".format(*found.n, "overlap" if found.overlap else "lie apart")
    if found.discordant:
        return "n = {:,}, only one right: {:,} and {:,}".format(found.n, *found.discordant)
    return f"n = {found.n:,}, {RESAMPLES:,} resamples"


def name_of(found: Paired | Welch) -> str:
    """The name of a test."""
    return WELCH if isinstance(found, Welch) else found.test


def _shown(name: str, of: str, value: float) -> float:
    scaled = 100 * math.expm1(value) if of == "%" else 100 * value if name in PERCENT else value
    return scaled + 0.0  # no zero with a sign
