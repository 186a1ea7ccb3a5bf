"""What a metric is to whatever ranks, tests, draws or prints its scores; `trainyard.evaluate` computes them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

DataKind = Literal["text", "choices", "pairs"]


@dataclass(frozen=True)
class ScoreKind:
    """One of the numbers that a metric gives of a model.

    Attributes:
        key: its name in results.
        title: as a heading.
        short_title: as a heading of a narrow column.
        decimals: as it is printed.
        percent: whether it is a share, which is printed in percent.
        tabulated: whether the comparison has it.
        correct: of a share, the items' column that says which are right.
        unit: of a mean over tokens, words or bytes, the items' column that counts them.
    """

    key: str
    title: str
    short_title: str
    decimals: int = 2
    percent: bool = False
    tabulated: bool = True
    correct: str | None = None
    unit: str | None = None


@dataclass(frozen=True)
class Metric:
    """A metric and how its scores compare.

    Attributes:
        key: its name in studies and results.
        reads: the kind of data that it is computed of.
        needs_encoder: whether it is of sequence-to-sequence models, and not of causal ones.
        higher_is_better: the direction.
        scores: every number that it gives.
        headline: the score that stands for all of them, where there is room for one.
        tested: the scores of which differences are tested, which are also those that are drawn.
        instead: (score, what stands for it where a text does not have it).
        comparable: the settings that two results must share for their scores to compare.
        item_columns: what of each item the tests read.
        has_chance: whether guessing reaches a known score.
    """

    key: str
    reads: DataKind
    needs_encoder: bool
    higher_is_better: bool
    scores: tuple[ScoreKind, ...]
    headline: str
    tested: tuple[str, ...]
    comparable: tuple[str, ...]
    item_columns: tuple[str, ...]
    instead: tuple[str, str] | None = None
    has_chance: bool = False

    def scores_of(self, keys: Sequence[str], results: Sequence[Collection[str]]) -> list[str]:
        """The scores of these keys, with what stands for one that no result has; each result is its scores by key."""
        if self.instead is None:
            return list(keys)
        score, other = self.instead
        lacking = not any(score in result for result in results)
        return [other if lacking and key == score else key for key in keys]

    @property
    def best(self) -> Literal["high", "low"]:
        """Which end of a column is the better one."""
        return "high" if self.higher_is_better else "low"
