"""Four-way endings by level of difficulty: what models and shortcuts score on them, and who beats whom."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainyard.core.statistics import Score, z_score
from trainyard.metrics import METRICS
from trainyard.report.results.runs import Evaluation, Run, below_chance, exact_score, model_labels, parse_score
from trainyard.report.statistics.seeds import Headline, headline

ALL = "all items"
CLEAR = 3.0  # standard errors from chance or a shortcut: more is no accident


@dataclass(frozen=True)
class Scored:
    """One model, or one shortcut, on one set of items; a model with its evaluation."""

    name: str
    title: str
    levels: dict[str, tuple[int, Score]]
    evaluation: Evaluation | None = None


@dataclass(frozen=True)
class Items:
    """One set of items under one protocol, with all that was scored on it.

    Attributes:
        title: dataset, split, protocol and shots.
        score: the name of the share that is right.
        chance: what guessing scores.
        levels: `all items`, then the levels from easy to hard.
        models: from best to worst.
        shortcuts: baselines that read no story.
    """

    title: str
    score: str
    chance: float
    levels: list[str]
    models: list[Scored]
    shortcuts: list[Scored]


def gather(runs: Sequence[Run], evaluations: Sequence[Evaluation], shortcuts: Sequence[dict[str, Any]]) -> list[Items]:
    """Bring models and shortcuts on the same items together.

    Args:
        runs: give the models their labels.
        evaluations: any evaluations; those of other metrics are left out.
        shortcuts: shortcuts/*.json.
    """
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        if METRICS[evaluation.metric].chance is not None and evaluation.scores:
            groups.setdefault(evaluation.raw["evaluation"], []).append(evaluation)
    return [_items(group, model_labels(runs, group), shortcuts) for group in groups.values()]


def find_headline(runs: Sequence[Run], items: Items) -> Headline:
    """Which of the models stands for them, over seeds."""
    scores = [
        (model.name, model.evaluation.checkpoint if model.evaluation else "", model.levels[ALL][1].value)
        for model in items.models
    ]
    return headline(runs, scores, lower=False)


def hardest_rival(model: Scored, items: Items, level: str) -> tuple[str, float] | None:
    """Which of chance and the shortcuts is hardest to beat on a level, and by how many standard errors it is beaten.

    That is the smallest difference over all of them, in combined standard errors: a shortcut
    that scores less than another may be nearer, since its own error is larger. None where an
    error is unknown. A shortcut that guesses at every item is chance by another name.
    """
    rivals = [("chance", exact_score(items.chance))]
    for rival in items.shortcuts:
        if level in rival.levels:
            score = rival.levels[level][1]
            if score.effective_error is not None or not math.isclose(score.value, items.chance):
                rivals.append((f"the shortcut “{rival.title}”", score))
    value = model.levels[level][1]
    distances = [(name, apart) for name, rival in rivals if (apart := z_score(value, rival)) is not None]
    return min(distances, key=lambda rival: rival[1]) if len(distances) == len(rivals) else None


def errors_below_chance(model: Scored, items: Items, level: str) -> float | None:
    """By how many standard errors a model does worse than guessing, if by three or more.

    Guessing would be right more often, so it follows a rule that answers such items wrongly.
    """
    if level not in model.levels:
        return None
    n, value = model.levels[level]
    below = below_chance(value, n, items.chance)
    return below if below is not None and below >= CLEAR else None


def _items(group: Sequence[Evaluation], labels: Sequence[str], shortcuts: Sequence[dict[str, Any]]) -> Items:
    first = group[0]
    metric = METRICS[first.metric]
    name = metric.told[0]
    own = next((shortcut_file for shortcut_file in shortcuts if shortcut_file["dataset"] == first.raw["dataset"]), None)
    baselines = own["baselines"] if own else {}
    models = []
    for evaluation, title in zip(group, labels, strict=True):
        levels = {ALL: (evaluation.raw["n"], evaluation.scores[name])}
        levels |= {level: (part["n"], parse_score(part[name])) for level, part in evaluation.levels.items()}
        models.append(Scored(evaluation.run, title, levels, evaluation))
    rivals = []
    for rival, shortcut_file in baselines.items():
        n = own["n"] if own else 0
        levels = {ALL: (n, parse_score(shortcut_file["accuracy"]))}
        levels |= {level: (value["n"], parse_score(value)) for level, value in shortcut_file["levels"].items()}
        rivals.append(Scored(rival, shortcut_file["title"], levels))
    known = [level for baseline in baselines.values() for level in baseline["levels"]]
    known += [level for model in models for level in model.levels if level != ALL]
    return Items(
        title=first.title,
        score=name,
        chance=own["chance"]["value"] if own else metric.chance or 0.0,
        levels=[ALL, *(level for level in dict.fromkeys(known) if any(level in model.levels for model in models))],
        models=sorted(models, key=lambda model: -model.levels[ALL][1].value),
        shortcuts=rivals,
    )
