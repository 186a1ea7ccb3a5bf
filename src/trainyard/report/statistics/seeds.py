"""Runs that differ only in their seed: mean and spread of a figure, and whether two configurations differ."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from scipy import stats

from trainyard.core.statistics import LEVEL, all_equal, all_finite
from trainyard.report.results.runs import Evaluation, Run, distinguishing_coordinates, label
from trainyard.report.statistics.paired_tests import UNITS

LOSSES = ("training_loss", "validation_loss")


@dataclass(frozen=True)
class Configuration:
    """Finished runs of one specification with two seeds or more."""

    label: str
    runs: list[Run]


@dataclass(frozen=True)
class SeedSummary:
    """One figure of every configuration that has it for two seeds or more, where it compares.

    Attributes:
        name: of the loss or of the score.
        title: what was evaluated, or for losses dataset and tokenizer.
        evaluation: name of the evaluation, empty for losses.
        checkpoint: which of the runs' models was evaluated, empty for losses.
        configurations: who has it.
        values: of each of them, a value a seed.
        evaluations: those that the values are of; none of losses.
    """

    name: str
    title: str
    evaluation: str
    checkpoint: str
    configurations: list[Configuration] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    evaluations: list[list[Evaluation]] = field(default_factory=list)

    @property
    def ranking(self) -> list[int]:
        """Places of the configurations from the best mean to the worst."""
        lower = self.name in LOSSES or self.name in UNITS
        return sorted(range(len(self.values)), key=lambda place: fmean(self.values[place]) * (1 if lower else -1))


@dataclass(frozen=True)
class Spread:
    """A figure over seeds.

    Attributes:
        mean: the mean of the seeds.
        deviation: their sample standard deviation (n - 1); zero where all are the same.
        n: seeds.
        standard_error: of the mean; none where all seeds are the same, which says nothing of others.
        low: the lower end of the mean's 95 % interval, by Student's t (Student 1908, Biometrika 6, 1-25), or none.
        high: the upper end, or none.
    """

    mean: float
    deviation: float
    n: int
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None


def group_configurations(runs: Sequence[Run]) -> list[Configuration]:
    """Finished runs by all of their specification but name and seed, where these have two seeds or more."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.finished:
            rest = {key: value for key, value in run.specification.items() if key not in ("run", "seed")}
            groups.setdefault(json.dumps(rest, sort_keys=True), []).append(run)
    names = distinguishing_coordinates([group[0] for group in groups.values()], without="seed")
    several = [group for group in groups.values() if len({run.coordinates["seed"] for run in group}) > 1]
    labels = [label(group[0], names) for group in several]
    return [
        Configuration(text if labels.count(text) == 1 else group[0].name, group)
        for text, group in zip(labels, several, strict=True)
    ]


def summarise_seeds(groups: Sequence[Configuration], evaluations: Sequence[Evaluation]) -> list[SeedSummary]:
    """Every loss and score that configurations have for two seeds or more.

    Losses compare on the same dataset and tokenizer, scores within one evaluation and checkpoint,
    a loss or perplexity per token within one tokenizer too. A seed's figure that is no finite number has no spread:
    its configuration is left out.
    """
    figures: dict[tuple[str, str, str, str, str], SeedSummary] = {}
    for configuration in groups:
        first = configuration.runs[0]
        data_label = f"{first.coordinates['dataset']} ({first.tokenizer} tokens)"
        values: dict[tuple[str, str, str, str, str], list[float]] = {}
        scored: dict[tuple[str, str, str, str, str], list[Evaluation]] = {}
        for name in LOSSES:
            measured = [value for run in configuration.runs if (value := run.summary[name]) is not None]
            values[name, data_label, "", "", ""] = measured
        runs = {run.name for run in configuration.runs}
        for each in evaluations:
            for name, value in each.scores.items() if each.run in runs else ():
                tokens = first.tokenizer if UNITS.get(name) == "tokens" else ""
                key = (name, each.title, each.raw["evaluation"], each.checkpoint, tokens)
                values.setdefault(key, []).append(value.value)
                scored.setdefault(key, []).append(each)
        for key, several in values.items():
            if len(several) > 1 and all_finite(several):
                figure = figures.setdefault(key, SeedSummary(*key[:4]))
                figure.configurations.append(configuration)
                figure.values.append(several)
                figure.evaluations.append(scored.get(key, []))
    return list(figures.values())


@dataclass(frozen=True)
class Headline:
    """What stands for a group of scores: the configuration of the best mean over seeds, and never its luckiest seed.

    Attributes:
        place: among the scores, of the middle one of its seeds.
        places: among the scores, of every one of its seeds.
        values: of the configuration, a value a seed.
        label: of the configuration; empty where it has one seed alone.
        several: whether any configuration of the group has several seeds.
        among: how many configurations it is the best of.
    """

    place: int
    places: list[int]
    values: list[float]
    label: str
    several: bool
    among: int


def headline(runs: Sequence[Run], scores: Sequence[tuple[str, str, float]], lower: bool) -> Headline:
    """What stands for these scores.

    Args:
        runs: of the study.
        scores: run (or pretrained model), checkpoint and value of each.
        lower: whether less is better.
    """
    owners = {run.name: configuration for configuration in group_configurations(runs) for run in configuration.runs}
    groups: dict[tuple[str, str], list[int]] = {}
    for index, (name, checkpoint, _) in enumerate(scores):
        groups.setdefault((owners[name].runs[0].name if name in owners else name, checkpoint), []).append(index)

    def mean(places: Sequence[int]) -> float:
        return fmean(scores[index][2] for index in places)

    best = min(groups.values(), key=lambda places: mean(places) * (1 if lower else -1))
    ordered = sorted(best, key=lambda place: scores[place][2])
    label = owners[scores[best[0]][0]].label if len(best) > 1 else ""
    several = any(len(places) > 1 for places in groups.values())
    return Headline(
        ordered[(len(ordered) - 1) // 2], best, [scores[index][2] for index in best], label, several, len(groups)
    )


def compute_spread(values: Sequence[float]) -> Spread | None:
    """Mean and spread of a figure over seeds; none of fewer than two, nor of what is no finite number."""
    if len(values) < 2 or not all_finite(values):
        return None
    mean, deviation, count = fmean(values), stdev(values), len(values)
    if all_equal(values):
        return Spread(mean, 0.0, count)
    error = deviation / math.sqrt(count)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    return Spread(mean, deviation, count, error, mean - half, mean + half)
