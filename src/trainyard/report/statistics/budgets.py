"""Sizes under budgets of tokens: what laws of loss are fitted to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from trainyard.config.catalogue import Model
from trainyard.report.results.comparable import make_comparison_key
from trainyard.report.results.runs import Run
from trainyard.report.statistics.seeds import headline


@dataclass(frozen=True)
class Budget:
    """One size under one budget of tokens.

    Attributes:
        model: its name in the catalogue.
        tokens: that it was trained on.
        losses: the last validation losses in nats per token, by run: of the best configuration, one a seed.
    """

    model: str
    tokens: int
    losses: dict[str, float]

    @property
    def loss(self) -> float:
        """Their mean."""
        return fmean(self.losses.values())


def gather_budgets(runs: Sequence[Run], models: Mapping[str, Model]) -> list[Budget]:
    """The sizes and budgets of a study's runs that came to the end of their schedules.

    Losses compare where they are of the same text and the same kind of training: those with most budgets are taken.
    """
    by_data: dict[tuple[str, ...], dict[tuple[str, int], list[tuple[str, str, float]]]] = {}
    for run in runs:
        loss, name = run.summary["validation_loss"], run.coordinates["model"]
        if not run.finished or run.stopped_early or loss is None or not 0 < loss < math.inf or name not in models:
            continue
        budgets = by_data.setdefault(make_comparison_key(run.specification), {})
        budgets.setdefault((name, run.summary["tokens"]), []).append((run.name, "", loss))
    most = max(by_data.values(), key=len, default={})
    return [_settle(model, tokens, losses, runs) for (model, tokens), losses in most.items()]


def _settle(model: str, tokens: int, losses: Sequence[tuple[str, str, float]], runs: Sequence[Run]) -> Budget:
    head = headline(runs, losses, lower=True)
    return Budget(model, tokens, {losses[place][0]: losses[place][2] for place in head.places})
