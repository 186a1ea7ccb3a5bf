"""Loss by size and tokens together, where a study varies both: Chinchilla's law, and what it says of a compute."""

from collections.abc import Callable, Mapping, Sequence

from trainyard.config.catalogue import Model
from trainyard.estimate.parameters import parameters, parameters_without_embeddings
from trainyard.report.render.format import decimal, scientific, short
from trainyard.report.results.runs import Run
from trainyard.report.statistics.budgets import Budget, gather_budgets
from trainyard.report.statistics.chinchilla import ChinchillaLaw, Intervals, bootstrap, fit


def describe_law(runs: Sequence[Run], models: Mapping[str, Model]) -> list[str]:
    """The law of size and tokens, how certain it is, and what it would do with the compute of the largest run."""
    budgets = gather_budgets(runs, models)
    law = _fit(budgets, models, parameters)
    if law is None:
        return []
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
    ]


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
