"""All results of a study together, and how they rank."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainyard.config.catalogue import Model
from trainyard.config.settings import ENERGY, Energy
from trainyard.config.study import Study
from trainyard.core.statistics import Score
from trainyard.metrics import METRICS, Metric
from trainyard.report.results.runs import Evaluation, Run, model_labels
from trainyard.report.results.searches import Search
from trainyard.report.results.shortcuts import ShortcutScores
from trainyard.report.statistics.seeds import Headline, headline


@dataclass(frozen=True)
class Evidence:
    """All results of a study."""

    study: Study
    runs: Sequence[Run]
    evaluations: Sequence[Evaluation]
    parity: Sequence[dict[str, Any]]
    cells: Sequence[dict[str, Any]]
    searches: Sequence[dict[str, Any]]
    shortcuts: Sequence[ShortcutScores]
    models: Mapping[str, Model]
    duplicates: Sequence[dict[str, Any]] = ()
    tuned: Sequence[Search] = ()
    energy: Energy = ENERGY


@dataclass(frozen=True)
class Ranking:
    """One evaluation's scores by one name, from best to worst."""

    title: str
    evaluations: list[Evaluation]
    labels: list[str]
    scores: list[Score]

    def headline(self, runs: Sequence[Run], name: str) -> Headline:
        """What stands for them, over seeds."""
        scores = [
            (each.run, each.checkpoint, value.value) for each, value in zip(self.evaluations, self.scores, strict=True)
        ]
        return headline(runs, scores, lower=not METRICS[self.evaluations[0].metric].higher_is_better)


def rank_evaluations(evidence: Evidence, metric: Metric, name: str) -> list[Ranking]:
    """Every evaluation by this metric that has a score of this name, its models from best to worst."""
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evidence.evaluations:
        if evaluation.metric == metric.key and name in evaluation.scores:
            groups.setdefault(evaluation.raw["evaluation"], []).append(evaluation)
    results = []
    for group in groups.values():
        group.sort(key=lambda evaluation: evaluation.scores[name].value, reverse=metric.higher_is_better)
        names = model_labels(evidence.runs, group)
        results.append(Ranking(group[0].title, group, names, [evaluation.scores[name] for evaluation in group]))
    return results


def ranked_by(evidence: Evidence, metric: Metric, name: str) -> list[tuple[Ranking, str]]:
    """Every evaluation by this metric, ranked by the score of this name, or by what stands for it.

    Each with the name of that score.
    """
    groups = [(group, name) for group in rank_evaluations(evidence, metric, name)]
    if metric.instead is None or metric.instead[0] != name:
        return groups
    other = metric.instead[1]
    found = {group.evaluations[0].raw["evaluation"] for group, _ in groups}
    rest = [
        group
        for group in rank_evaluations(evidence, metric, other)
        if group.evaluations[0].raw["evaluation"] not in found
    ]
    return [*groups, *((group, other) for group in rest)]


def best_loss(run: Run) -> float | None:
    """A run's lowest validation loss; none if it was not validated."""
    best = run.summary["best"]
    return best["validation_loss"] if best else run.summary["validation_loss"]


def group_by_data(runs: Sequence[Run]) -> dict[tuple[str, str], list[tuple[float, Run]]]:
    """Finished runs by dataset and tokenizer (losses compare on nothing less), the lowest loss first."""
    groups: dict[tuple[str, str], list[tuple[float, Run]]] = {}
    for run in runs:
        loss = best_loss(run)
        if run.finished and loss is not None:
            groups.setdefault((run.coordinates["dataset"], run.tokenizer), []).append((loss, run))
    return {data: sorted(group, key=lambda item: item[0]) for data, group in groups.items()}
