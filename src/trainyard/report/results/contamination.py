"""What items share with a training text: the files of the rule contamination, read for the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from trainyard.core.files import read_json
from trainyard.report.render.format import decimal, join_words


@dataclass(frozen=True)
class Overlap:
    """What the items of one dataset and split share with one training text."""

    path: Path
    raw: dict[str, Any]

    @property
    def place(self) -> tuple[str, str, str]:
        """The dataset trained on, the dataset scored on and its split."""
        return self.raw["training"], self.raw["dataset"], self.raw["split"]

    @property
    def title(self) -> str:
        """The items, in a few words."""
        return f"{self.raw['dataset']} {self.raw['split']}"

    @cached_property
    def lengths(self) -> dict[int, int]:
        """How many n-grams each item has, by its row."""
        columns = pq.read_table(self.path.with_suffix(".parquet"), columns=["row", "ngrams"])
        return dict(zip(columns["row"].to_pylist(), columns["ngrams"].to_pylist(), strict=True))

    @cached_property
    def affected(self) -> dict[int, dict[str, Any]]:
        """The contaminated items by their row."""
        columns = pq.read_table(self.path.with_suffix(".parquet"), filters=[("contaminated", "=", True)])
        return {row["row"]: row for row in columns.to_pylist()}


def read_overlaps(paths: Sequence[Path]) -> list[Overlap]:
    """What is in these files, in the given order."""
    return [Overlap(path, read_json(path)) for path in paths]


def describe_overlaps(overlaps: Sequence[Overlap]) -> list[str]:
    """A line for other tables: the share of items that the training text gives away, and where more is."""
    lines: dict[int, list[str]] = {}
    for overlap in overlaps:
        if overlap.raw["share"] is None:
            continue
        text = f"{decimal(100 * overlap.raw['share'], 1)} % of the items of {overlap.title} ({overlap.raw['training']})"
        lines.setdefault(overlap.raw["ngram"], []).append(text)
    unknown = [
        f"Whether items of {overlap.title} occur in the training data ({overlap.raw['training']}) is not known: "
        f"{overlap.raw['reason']}."
        for overlap in overlaps
        if overlap.raw["share"] is None
    ]
    return unknown + [
        f"{join_words(shares)} share an n-gram of {ngram} words with the training data (in brackets); see "
        f"Contamination."
        for ngram, shares in lines.items()
    ]
