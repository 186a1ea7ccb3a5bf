"""Validation losses of runs, compared row by row: validation is of the same rows in every run on the same data."""

from collections.abc import Sequence

from trainyard.metrics import SCORES
from trainyard.report.results.item_scores import Items
from trainyard.report.results.runs import Run
from trainyard.report.statistics.paired_tests import PairedTest, compare_items
from trainyard.report.statistics.recipes import RecipeTest, compare_recipe_items

LOSS = next(key for key, kind in SCORES.items() if kind.unit == "tokens" and kind.form == "nats")
"""The score whose items have the columns that rows have."""
DECIDING = ("sequence_length", "source_length", "target_length", "validation_tokens")


def compare_validation(first: Run, second: Run, *, validation: str = "best") -> PairedTest | str:
    """Test the difference of two runs' lowest or `last` validation losses; a text says why it can't be tested."""
    rows = _collect_rows([first, second], validation)
    return rows if isinstance(rows, str) else compare_items(rows[0], rows[1], LOSS)


def compare_validation_of_recipes(first: Sequence[Run], second: Sequence[Run], validation: str) -> RecipeTest | str:
    """Test the difference of two recipes by the `best` or the `last` validation of their seeds."""
    rows = _collect_rows([*first, *second], validation)
    if isinstance(rows, str):
        return rows
    return compare_recipe_items(rows[: len(first)], rows[len(first) :], LOSS)


def collect_validations(recipes: Sequence[Sequence[Run]], validation: str = "best") -> list[list[Items]] | str:
    """The rows of each recipe's validations, a seed each; a text says why they can't be paired."""
    rows = _collect_rows([run for recipe in recipes for run in recipe], validation)
    if isinstance(rows, str):
        return rows
    left = iter(rows)
    return [[next(left) for _ in recipe] for recipe in recipes]


def _collect_rows(runs: Sequence[Run], validation: str) -> list[Items] | str:
    """The rows of each run's validation, or why they can't be paired."""
    collected: list[Items] = []
    for run in runs:
        if reason := _explain_unlike(runs[0], run):
            return reason
        rows = run.validation_rows[validation]
        if isinstance(rows, str):
            return f"{run.name}: {rows}"
        collected.append(rows)
    return collected


def _explain_unlike(first: Run, second: Run) -> str:
    """Why two runs were not validated on the same rows; empty where they were."""
    one, other = first.coordinates["dataset"], second.coordinates["dataset"]
    if one != other:
        return f"dataset: {one} and {other}"
    if first.tokenizer != second.tokenizer:
        return f"tokenizer: {first.tokenizer} and {second.tokenizer}"
    for key in DECIDING:
        ours, theirs = (run.specification["train"].get(key) for run in (first, second))
        if ours != theirs:
            return f"{key}: {ours} and {theirs}"
    return ""
