"""Loss by size and tokens together, where a study varies both: Chinchilla's law, and what it says of a compute."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from trainyard.config.catalogue import Model
from trainyard.estimate.parameters import parameters, parameters_without_embeddings
from trainyard.report.render.format import decimal, join_words, scientific, short
from trainyard.report.results.runs import Run
from trainyard.report.statistics.budgets import Budget, gather_budgets
from trainyard.report.statistics.chinchilla import ChinchillaLaw, Intervals, bootstrap, fit
from trainyard.report.statistics.parabola import Minimum, find_minimum

SAME_COMPUTE = 1.05
"""Budgets whose 6 N D lie within this factor are of one compute: tokens are whole steps."""
FEWEST_COMPUTES = 3
"""From so many on it is said how the best size grows."""


def describe_law(runs: Sequence[Run], models: Mapping[str, Model]) -> list[str]:
    """The law of size and tokens, how certain it is, and what it would do with the compute of the largest run."""
    budgets = gather_budgets(runs, models)
    law = _fit(budgets, models, parameters)
    if law is None:
        return _describe_isoflops(budgets, models)
    sizes = [parameters(models[budget.model]) for budget in budgets]
    tokens = [budget.tokens for budget in budgets]
    intervals = bootstrap(sizes, tokens, [budget.loss for budget in budgets])
    assert intervals is not None  # what has a law has one under resampling
    largest = max(
        abs(law.loss(size, count) / budget.loss - 1) for size, count, budget in zip(sizes, tokens, budgets, strict=True)
    )
    without = _fit(budgets, models, parameters_without_embeddings)
    other = f"; with N without embeddings a = {decimal(without.size_exponent)}" if without else ""
    flops, size, count = max((6 * size * count, size, count) for size, count in zip(sizes, tokens, strict=True))
    best_size, best_tokens = law.optimal(flops)
    return [
        f"Over {len(budgets)} pairs of {len(set(sizes))} sizes and {len(set(tokens))} budgets of tokens the law "
        f"L(N, D) = E + A / N^a + B / D^b fits within {decimal(100 * largest, 1)} % with "
        f"{_describe_parameters(law, intervals)} (N all parameters; 95 % intervals by resampling the pairs){other}.",
        f"With the {scientific(flops)} FLOP of the largest run (6 N D; N = {short(size)}, D = {short(count)}) the law "
        f"expects least of N = {short(best_size)} and D = {short(best_tokens)}: "
        f"{decimal(law.loss(best_size, best_tokens))} nats, where that run is expected to have "
        f"{decimal(law.loss(size, count))}.",
        *_describe_isoflops(budgets, models),
    ]


def _describe_isoflops(budgets: Sequence[Budget], models: Mapping[str, Model]) -> list[str]:
    """The best size of each compute that three sizes or more were given, and how it grows (the paper's approach 2)."""
    by_compute: list[tuple[float, list[Budget]]] = []
    for budget in sorted(budgets, key=lambda each: parameters(models[each.model]) * each.tokens):
        flops = 6.0 * parameters(models[budget.model]) * budget.tokens
        if by_compute and flops <= by_compute[-1][0] * SAME_COMPUTE:
            by_compute[-1][1].append(budget)
        else:
            by_compute.append((flops, [budget]))
    found = [
        (flops, minimum)
        for flops, group in by_compute
        if (minimum := find_minimum([parameters(models[each.model]) for each in group], [each.loss for each in group]))
    ]
    if not found:
        return []
    listed = [f"{scientific(flops)} FLOP N = {short(minimum.at)}{_size_ends(minimum)}" for flops, minimum in found]
    text = f"Of sizes under the same compute a parabola is lowest for {join_words(listed)}"
    if len(found) >= FEWEST_COMPUTES:
        flops, sizes = np.log([each for each, _ in found]), np.log([minimum.at for _, minimum in found])
        text += f"; the best N grows as C to the power of {decimal(float(np.polyfit(flops, sizes, 1)[0]), 2)}"
    return [f"{text}."]


def _size_ends(minimum: Minimum) -> str:
    if minimum.low is None or minimum.high is None:
        return ""
    return f" [{short(minimum.low)}, {short(minimum.high)}]"


def _fit(budgets: Sequence[Budget], models: Mapping[str, Model], count: Callable[[Model], int]) -> ChinchillaLaw | None:
    return fit(
        [count(models[budget.model]) for budget in budgets],
        [budget.tokens for budget in budgets],
        [budget.loss for budget in budgets],
    )


def _describe_parameters(law: ChinchillaLaw, intervals: Intervals) -> str:
    floor = "E not identified"
    if intervals.floor is not None:
        floor = f"E = {decimal(law.floor)} nats {_interval(intervals.floor)}"
    return (
        f"a = {decimal(law.size_exponent)} {_interval(intervals.size_exponent)}, "
        f"b = {decimal(law.tokens_exponent)} {_interval(intervals.tokens_exponent)} and {floor}"
    )


def _interval(ends: tuple[float, float]) -> str:
    return f"[{decimal(ends[0])}, {decimal(ends[1])}]"
