"""Which of several models, or of several configurations, is better: their pairs under a test, and how to say so."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from scipy import stats

from trainyard.core.power import FEWEST_SEEDS, find_detectable
from trainyard.core.statistics import LEVEL
from trainyard.metrics import METRICS, SCORES
from trainyard.report.render.format import PERCENT, decimal, scientific
from trainyard.report.results.item_scores import HALVES
from trainyard.report.results.runs import Evaluation, Run
from trainyard.report.statistics.decontaminated import StratifiedTest
from trainyard.report.statistics.paired_tests import FLOOR, SIGN_FLIP, UNITS, PairedTest, compare_paired, holm
from trainyard.report.statistics.recipes import RecipeTest, compare_recipes, welch
from trainyard.report.statistics.seeds import SeedSummary
from trainyard.report.statistics.validation import compare_validation, compare_validation_of_recipes

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
    found: PairedTest | RecipeTest | str
    p: float | None = None
    tests: int = 0

    @property
    def verdict(self) -> str:
        """`better`: the first is, at the level of 5 %; `within noise`; or `not tested`."""
        return UNTESTED if self.p is None else BETTER if self.p < SIGNIFICANT else WITHIN


def compare_models(group: Sequence[Evaluation], name: str) -> list[Pair]:
    """Pairs of models by one score, under the paired test of its metric."""
    return compare_family(ranking(group, name), lambda first, second: compare_paired(group[first], group[second], name))


def compare_runs(runs: Sequence[Run]) -> list[Pair]:
    """Pairs of runs, given from the lowest validation loss to the highest, under the paired test over its rows."""
    return compare_family(range(len(runs)), lambda first, second: compare_validation(runs[first], runs[second]))


def compare_configurations(figure: SeedSummary) -> list[Pair]:
    """Pairs of configurations by one figure: under a test over seeds and items, or over seeds where it has no items."""

    def test(first: int, second: int) -> RecipeTest | str:
        if figure.evaluation:
            return compare_recipes(figure.evaluations[first], figure.evaluations[second], figure.name)
        if figure.name == "validation_loss":
            ours, theirs = (figure.configurations[place].runs for place in (first, second))
            by_row = compare_validation_of_recipes(ours, theirs, "last")
            if not isinstance(by_row, str):
                return by_row
        return welch(figure.values[first], figure.values[second])

    return compare_family(figure.ranking, test)


def compare_family(order: Sequence[int], test: Callable[[int, int], PairedTest | RecipeTest | str]) -> list[Pair]:
    """Every pair of a group, given from best to worst; of more than 8 members the best against each other one.

    Holm's correction is over all pairs, those that are left out too: the best was chosen from all of them.
    """
    whole = len(order) <= MOST
    index_pairs = combinations(order, 2) if whole else ((order[0], other) for other in order[1:])
    made_pairs = [Pair(first, second, test(first, second)) for first, second in index_pairs]
    values = [pair.found.p for pair in made_pairs if not isinstance(pair.found, str)]
    tests = len(values) if whole else len(values) * (len(values) + 1) // 2
    adjusted = iter(holm(values, tests))
    return [pair if isinstance(pair.found, str) else _correct(pair, next(adjusted), tests) for pair in made_pairs]


def _correct(pair: Pair, p: float, tests: int) -> Pair:
    """The pair with its corrected p; untested where the least p that draws of signs can give says nothing any more."""
    test = pair.found
    is_least = isinstance(test, PairedTest) and test.test == SIGN_FLIP and test.p <= FLOOR
    if is_least and p >= SIGNIFICANT:
        return replace(pair, found=f"{tests:,} tests are too many for {HALVES:,} draws of signs")
    return replace(pair, p=p, tests=tests)


def ranking(group: Sequence[Evaluation], name: str) -> list[int]:
    """Places of a group's members from the best score to the worst."""
    return sorted(
        range(len(group)),
        key=lambda place: group[place].scores[name].value,
        reverse=METRICS[group[0].metric].higher_is_better,
    )


def difference_unit(name: str) -> str:
    """The unit of a difference as it is shown; a perplexity's in percent of it."""
    kind = SCORES.get(name)
    if kind is None:
        return "nats"  # a loss of a training
    if kind.unit is None:
        return "points" if kind.is_bounded else ""
    if kind.form == "exponential":
        return "%"
    return "nats"


def raw_difference_unit(name: str) -> str:
    """The unit of a difference as the CSV has it."""
    if name in UNITS:
        return f"nats per {UNITS[name].removesuffix('s')}"
    return "share" if name in PERCENT else difference_unit(name)


def format_difference(name: str, test: PairedTest | StratifiedTest | RecipeTest) -> tuple[str, str]:
    """A difference as it is shown, with its unit, and its interval: `+1.4 points`, `[0.3, 2.5]`."""
    of = difference_unit(name)
    parts = [_to_shown_unit(name, of, part) for part in (test.difference, test.low, test.high)]
    value, low, high = (decimal(part, _digits(parts[2] - parts[1])) for part in parts)
    signed = value if parts[0] <= 0 else f"+{value}"
    return f"{signed} {of}".strip(), f"[{low}, {high}]"


def format_shift(name: str, difference: float, test: PairedTest | RecipeTest | None) -> str:
    """A difference that was not tested itself: with the decimals of one by the same score that was, if one was."""
    low, high = (test.low, test.high) if test else (0.0, abs(difference))
    kept = PairedTest(difference, low, high, p=1.0, test="", n=0)
    return format_difference(name, kept)[0]


def format_detectable(name: str, pair: Pair) -> str:
    """About what difference a test would find among so many; empty where that can't be told.

    Two seeds hardly tell their own spread. Of a paired test the error is that which its interval has.
    """
    test = pair.found
    if isinstance(test, PairedTest) and math.isfinite(test.high - test.low):
        error, degrees = (test.high - test.low) / (2 * float(stats.norm.isf((1 - LEVEL) / 2))), float(test.n - 1)
    elif isinstance(test, RecipeTest) and min(test.n) >= FEWEST_SEEDS:
        error, degrees = test.error, test.degrees
    else:
        return ""
    of = difference_unit(name)
    value = _to_shown_unit(name, of, find_detectable(error, degrees, pair.tests))
    return f"{decimal(value, _digits(value))} {of}".strip()


def _digits(width: float) -> int:
    """Decimals that show two digits of an interval's width."""
    return 1 if width >= 1 or width < 1e-9 else min(4, 1 - math.floor(math.log10(width)))


def format_p_value(p: float) -> str:
    """A p-value as it is read: `0.031`; below a millionth no more than that."""
    if p < LEAST:
        return f"< {scientific(LEAST)}"
    return scientific(p) if p < 0.001 else decimal(p, 3 if p < 0.1 else 2)


def describe_p_value(p: float) -> str:
    """A p-value in a sentence: `p = 0.031`, `p < 1e-6`."""
    return f"p {format_p_value(p)}" if p < LEAST else f"p = {format_p_value(p)}"


def describe_pair(name: str, pair: Pair) -> str:
    """A pair's difference, first minus second: interval, p, test and sizes; or why there is no test."""
    test = pair.found
    if isinstance(test, str) or pair.p is None:
        return f"not tested ({test})"
    value, interval = format_difference(name, test)
    text = f"{value}, 95 % interval {interval}, {describe_p_value(test.p)}"
    if pair.tests > 1:
        text += f" ({format_p_value(pair.p)} by Holm over {pair.tests} tests)"
    return f"{text}; {test.test}, {describe_sizes(test)}: {pair.verdict}"


def describe_sizes(test: PairedTest | RecipeTest) -> str:
    """What a test is made on."""
    if isinstance(test, RecipeTest):
        return "{} and {} seeds".format(*test.n) + (f", {test.items:,} items" if test.items else "")
    if test.discordant:
        return "n = {:,}, only one right: {:,} and {:,}".format(test.n, *test.discordant)
    return f"n = {test.n:,}, {HALVES:,} random flips"


def _to_shown_unit(name: str, of: str, value: float) -> float:
    scaled = 100 * math.expm1(value) if of == "%" else 100 * value if name in PERCENT else value
    return scaled + 0.0  # no zero with a sign
