"""All results of a study together, and how they rank."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainyard.config.catalogue import Model
from trainyard.config.study import Study
from trainyard.core.statistics import Score
from trainyard.metrics import METRICS
from trainyard.report.results.runs import Evaluation, Run, model_labels
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
    shortcuts: Sequence[dict[str, Any]]
    models: Mapping[str, Model]
    duplicates: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class Ranked:
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


def ranked(evidence: Evidence, metric: str, name: str) -> list[Ranked]:
    """Every evaluation by this metric that has a score of this name, its models from best to worst."""
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evidence.evaluations:
        if evaluation.metric == metric and name in evaluation.scores:
            groups.setdefault(evaluation.raw["evaluation"], []).append(evaluation)
    found = []
    for group in groups.values():
        group.sort(key=lambda evaluation: evaluation.scores[name].value, reverse=METRICS[metric].higher_is_better)
        names = model_labels(evidence.runs, group)
        found.append(Ranked(group[0].title, group, names, [evaluation.scores[name] for evaluation in group]))
    return found


def perplexities(evidence: Evidence) -> list[tuple[Ranked, str]]:
    """Every perplexity by the figure that it is told by, a word's; a byte's where the text puts no space between words.

    Each with the name of that figure.
    """
    words = [(group, "perplexity_word") for group in ranked(evidence, "perplexity", "perplexity_word")]
    told = {group.evaluations[0].raw["evaluation"] for group, _ in words}
    of_bytes = ranked(evidence, "perplexity", "perplexity_byte")
    others = [group for group in of_bytes if group.evaluations[0].raw["evaluation"] not in told]
    return [*words, *((group, "perplexity_byte") for group in others)]


def best_loss(run: Run) -> float | None:
    """A run's lowest validation loss; none if it was not validated."""
    best = run.summary["best"]
    return best["validation_loss"] if best else run.summary["validation_loss"]


def by_data(runs: Sequence[Run]) -> dict[tuple[str, str], list[tuple[float, Run]]]:
    """Finished runs by dataset and tokenizer (losses compare on nothing less), the lowest loss first."""
    groups: dict[tuple[str, str], list[tuple[float, Run]]] = {}
    for run in runs:
        loss = best_loss(run)
        if run.finished and loss is not None:
            groups.setdefault((run.coordinates["dataset"], run.tokenizer), []).append((loss, run))
    return {place: sorted(group, key=lambda item: item[0]) for place, group in groups.items()}
