"""What a metric is to whatever ranks, tests, draws or prints its scores; `trainyard.evaluate` computes them.

How to add one: docs/how-to/add-a-metric.md.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

DataKind = Literal["text", "choices", "pairs"]


@dataclass(frozen=True)
class ScoreKind:
    """One of the numbers that a metric gives of a model.

    Attributes:
        key: its name in results.
        title: in a sentence.
        short_title: as a heading of a narrow column.
        decimals: as it is printed.
        percent: whether it is a share, which is printed in percent.
        points: whether it is a share already in points of 100.
        tabulated: whether the comparison has it.
        shown: whether the comparison's page has it too; its CSV has it anyway.
        correct: of a share, the items' column that says which are right.
        unit: of a mean loss over tokens, words or bytes, the items' column that counts them; the items' column
            `log_likelihood` has the sums.
        form: of such a mean loss, in nats: as it is, its exponential, or in bits.
    """

    key: str
    title: str
    short_title: str
    decimals: int = 2
    percent: bool = False
    points: bool = False
    tabulated: bool = True
    shown: bool = True
    correct: str | None = None
    unit: str | None = None
    form: Literal["nats", "exponential", "bits"] = "nats"

    @property
    def heading(self) -> str:
        """The title with the unit that its numbers are printed in."""
        return f"{self.title}, %" if self.percent else self.title

    @property
    def is_bounded(self) -> bool:
        """Whether it lies between 0 and 100 as it is printed."""
        return self.percent or self.points


@dataclass(frozen=True)
class Metric:
    """A metric and how its scores compare.

    Attributes:
        key: its name in studies and results.
        reads: the kind of data that it is computed of.
        needs_pairs: whether it is of models that are trained on pairs, to write a target for a source.
        higher_is_better: the direction.
        scores: every number that it gives.
        headline: the score that stands for all of them, where there is room for one.
        topic: the heading of the sentences about it.
        told: the scores that a sentence states; models are ranked there by the first.
        item: what its scores are a mean over, as a noun.
        tokens_per_item: about what an item costs, in tokens that a model reads or writes.
        tested: the scores of which differences are tested, which are also those that are drawn.
        instead: (score, what stands for it where a text does not have it).
        comparable: the settings that two results must share for their scores to compare.
        item_columns: what of each item the tests read: for each score the column that it is a share of (`correct`),
            the two that it is a mean loss over (`unit`), or the one of its own name.
        chance: the share that guessing gets right, of a metric whose first told score is one; none of others.
        has_texts: whether its items hold what the model wrote, `prediction`, of what, `row`, and what the data has,
            `target`: the page of samples shows them with each item's headline score.
    """

    key: str
    reads: DataKind
    needs_pairs: bool
    higher_is_better: bool
    scores: tuple[ScoreKind, ...]
    headline: str
    topic: str
    told: tuple[str, ...]
    item: str
    tokens_per_item: int
    tested: tuple[str, ...]
    comparable: tuple[str, ...]
    item_columns: tuple[str, ...]
    instead: tuple[str, str] | None = None
    chance: float | None = None
    has_texts: bool = False

    def __post_init__(self) -> None:
        keys = [kind.key for kind in self.scores]
        named = {"headline": (self.headline,), "told": self.told, "tested": self.tested, "instead": self.instead or ()}
        for name, values in named.items():
            if unknown := [value for value in values if value not in keys]:
                raise ValueError(f"metric {self.key}: {name}: no score {unknown[0]!r}; there are {', '.join(keys)}")
        for kind in self.scores:
            own = (kind.correct,) if kind.correct else (kind.unit, "log_likelihood") if kind.unit else (kind.key,)
            if lacking := [column for column in own if column not in self.item_columns]:
                raise ValueError(f"metric {self.key}: item_columns: {lacking[0]} is missing, for {kind.key}")

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
