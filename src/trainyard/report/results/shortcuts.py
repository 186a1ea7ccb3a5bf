"""What the shortcuts score on a dataset of multiple-choice items."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trainyard.core.files import read_json
from trainyard.report.results.item_scores import Items, read_items


@dataclass(frozen=True)
class ShortcutScores:
    """A file of `shortcuts/`, with the points of each item beside it.

    Attributes:
        path: the JSON file.
        raw: what it holds.
    """

    path: Path
    raw: dict[str, Any]

    @cached_property
    def items(self) -> Items | str:
        """The points of each shortcut on every item, or why they can't be read."""
        return read_items(self.path.with_suffix(".parquet"), tuple(self.raw["baselines"]))


def read_shortcuts(paths: Iterable[Path]) -> list[ShortcutScores]:
    """The shortcuts in these files, in the given order."""
    return [ShortcutScores(path, read_json(path)) for path in paths]
