"""How often each statement of the report is wrong, simulated with the report's own functions.

    make bench-statistics

Prints a row for each statement: in how many cases an interval held the truth, or a test called equal ones different.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from trainyard.core.power import find_detectable
from trainyard.core.statistics import Score, bootstrap_means, estimate_proportion, estimate_ratio
from trainyard.core.text import markdown_table
from trainyard.report.results.item_scores import Items
from trainyard.report.results.runs import Evaluation
from trainyard.report.statistics.decontaminated import compare_within_strata, make_strata
from trainyard.report.statistics.paired_tests import PairedTest, flip_signs, mcnemar
from trainyard.report.statistics.power_law import fit
from trainyard.report.statistics.recipes import RecipeTest, compare_recipes, welch
from trainyard.report.statistics.selection import correct_for_choice
from trainyard.report.statistics.speeds import estimate_speeds, find_least_difference

Generator = np.random.Generator
Case = Callable[[Generator], bool]


def holds(interval: tuple[float | None, float | None], truth: float) -> bool:
    """Whether an interval holds the truth."""
    low, high = interval
    return low is not None and high is not None and low <= truth <= high


def wilson(count: int, share: float) -> Case:
    def case(generator: Generator) -> bool:
        found = estimate_proportion(generator.random(count) < share)
        return holds((found.low, found.high), share)

    return case


def ratio(count: int) -> Case:
    def case(generator: Generator) -> bool:
        tokens = generator.integers(5, 500, count).astype(float)
        found = estimate_ratio(tokens * generator.normal(3.0, 0.5, count), tokens)
        return holds((found.low, found.high), 3.0)

    return case


def bootstrap_t(count: int) -> Case:
    def case(generator: Generator) -> bool:
        scores = np.where(generator.random(count) < 0.68, 100.0, generator.uniform(20, 100, count))
        (found,) = bootstrap_means(scores[:, None], 1000, int(generator.integers(2**31)))
        return holds((found.low, found.high), 0.68 * 100 + 0.32 * 60)

    return case


def best_of(among: int) -> Case:
    def case(generator: Generator) -> bool:
        rights = generator.random((among, 2000)) < 0.37
        best = estimate_proportion(rights[rights.mean(axis=1).argmax()])
        value = Score(best.value, best.standard_error, best.low, best.high)
        return holds(correct_for_choice(value, "acc", 2000, among).interval or (None, None), 0.37)

    return case


def answers(count: int) -> Case:
    def case(generator: Generator) -> bool:
        first, second = generator.random((2, count)) < generator.random(count)
        return mcnemar(first, second).p < 0.05

    return case


def signs(count: int, differing: int) -> Case:
    def case(generator: Generator) -> bool:
        values = np.zeros(count)
        values[:differing] = generator.normal(0, 1, differing)
        items = Items(np.arange(count), {"first": values, "second": np.zeros(count)})
        found = flip_signs(items, items, "first", "second")
        return isinstance(found, PairedTest) and found.p < 0.05

    return case


def recipes(seeds: int, seed_effect: float, over_items: bool = True) -> Case:
    """Recipes that are equal over all items there could be, each better at some of 2,000."""

    def evaluate(correct: np.ndarray) -> Evaluation:
        raw = {"metric": "hellaswag", "dataset": "d", "split": "s", "rows_sha256": "0", "settings": {}, "run": "r"}
        made = Evaluation(Path("none.json"), {**raw, "values": {"acc": {"value": float(correct.mean())}}})
        made.__dict__["items"] = Items(np.arange(len(correct)), {"correct": correct})
        return made

    def case(generator: Generator) -> bool:
        ease = generator.normal(0, 1, 2000)
        made = []
        for _ in range(2):
            own = ease + generator.normal(0, 1, 2000)
            moved = [own + generator.normal(0, seed_effect) for _ in range(seeds)]
            made.append([evaluate(generator.random(2000) < 1 / (1 + np.exp(-each))) for each in moved])
        if over_items:
            found = compare_recipes(made[0], made[1], "acc")
        else:
            found = welch(*([each.scores["acc"].value for each in recipe] for recipe in made))
        return isinstance(found, RecipeTest) and found.p < 0.05

    return case


def power(degrees: int) -> Case:
    detectable = find_detectable(1.0, degrees)

    def case(generator: Generator) -> bool:
        # two groups of one spread: a mean of a difference with a standard error of 1
        size = degrees // 2 + 1
        scale = np.sqrt(size / 2)
        first, second = generator.normal(0, scale, (2, size))
        found = welch((first + detectable).tolist(), second.tolist())
        return isinstance(found, RecipeTest) and found.p < 0.05

    return case


def contamination(count: int, some: int) -> Case:
    def case(generator: Generator) -> bool:
        items = Items(np.arange(count), {"correct": generator.random(count) < 0.95})
        affected = np.isin(np.arange(count), generator.choice(count, some, replace=False))
        found = compare_within_strata(items, affected, make_strata(items, np.zeros(count)), "acc")
        return not isinstance(found, str) and found.p < 0.05

    return case


def exponent(sizes: int, noise: float) -> Case:
    def case(generator: Generator) -> bool:
        parameters = np.geomspace(1e7, 1e9, sizes)
        losses = (1.69 + 406.4 / parameters**0.34) * np.exp(generator.normal(0, noise, sizes))
        law = fit(parameters, losses)
        return law is not None and (law.low or 0.0) <= 0.34 <= (law.high or 2.0)

    return case


def launches(cells: int, drift: float, spread: float = 1.0) -> Case:
    """Cells of one speed in three rounds; what is in common to a round drifts, and one cell is noisier by `spread`."""

    def case(generator: Generator) -> bool:
        noise = np.where(np.arange(cells) == 0, spread, 1.0)[:, None] * 0.02
        logs = noise * generator.normal(0, 1, (cells, 3)) + generator.normal(0, drift, 3)
        found = find_least_difference(np.exp(logs).tolist())
        return found is not None and float(np.ptp(logs.mean(axis=1))) > found

    return case


def speed(cells: int) -> Case:
    def case(generator: Generator) -> bool:
        found = estimate_speeds(np.exp(generator.normal(0, 0.02, (cells, 3))).tolist())[0]
        return holds((found.low, found.high), 1.0)

    return case


SIMULATIONS: list[tuple[str, int, Case]] = [
    *((f"interval of an accuracy holds it, {n:,} items, {p:.0%} right", 4000, wilson(n, p))
      for n, p in ((100, 0.25), (500, 0.99), (2000, 0.5))),
    *((f"interval of a loss per token holds it, {n} documents", 4000, ratio(n)) for n in (20, 60)),
    *((f"interval of a ROUGE holds it, {n} rows, most at 100", 1000, bootstrap_t(n)) for n in (20, 50, 100)),
    *((f"interval of the best of {k} holds its truth, 2,000 items", 2000, best_of(k)) for k in (3, 8, 16)),
    *((f"equal models called different, McNemar, {n:,} items", 2000, answers(n)) for n in (100, 1000, 10_000)),
    *((f"equal models called different, signs, {m} of {n} rows differ", 1000, signs(n, m))
      for n, m in ((100, 4), (100, 8), (100, 20), (100, 100), (20, 20))),
    *((f"equal recipes called different, {s} seeds, items and seeds, effect of a seed {e}", 500, recipes(s, e))
      for s in (2, 3, 5, 10) for e in (0.0, 0.1)),
    *((f"equal recipes called different, {s} seeds, seeds alone", 500, recipes(s, 0.0, False)) for s in (3, 10)),
    *((f"a detectable difference is found, {d} degrees of freedom", 4000, power(d)) for d in (4, 8)),
    ("harmless contamination called harmful, 20 of 1,000 items", 500, contamination(1000, 20)),
    *((f"interval of an exponent holds it, {n} sizes, noise of {e:.1%}", 1000, exponent(n, e))
      for n, e in ((5, 0.002), (5, 0.01), (8, 0.005))),
    *((f"any of {k} equal cells called faster, 3 launches, rounds drift by {d:.0%}, one {s:g} times as noisy", 4000,
       launches(k, d, s))
      for k, d, s in ((2, 0.0, 1), (3, 0.0, 1), (3, 0.2, 1), (6, 0.2, 1), (16, 0.2, 1), (6, 0.0, 3))),
    *((f"interval of a speed holds it, 3 launches of {k} cells", 4000, speed(k)) for k in (1, 3, 6)),
]  # fmt: skip


def simulate() -> Iterator[list[str]]:
    """A row for each simulation: its statement, how often it came true, the error of that, and the number of cases."""
    for number, (statement, cases, case) in enumerate(SIMULATIONS):
        generator = np.random.default_rng(number)
        share = sum(case(generator) for _ in tqdm(range(cases), statement, leave=False, disable=None)) / cases
        error = (share * (1 - share) / cases) ** 0.5
        yield [statement, f"{100 * share:.1f} ± {100 * error:.1f} %", f"{cases:,}"]


if __name__ == "__main__":
    sys.stdout.write(markdown_table(["statement", "how often", "cases"], list(simulate())) + "\n")
