"""Four-way endings by level of difficulty: what models and shortcuts score on them, and who beats whom."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats

from trainyard.core.statistics import LEVEL, Score, simultaneous_level
from trainyard.metrics import METRICS
from trainyard.report.results.item_scores import Items as ItemScores
from trainyard.report.results.runs import Evaluation, Run, model_labels, parse_score
from trainyard.report.results.shortcuts import ShortcutScores
from trainyard.report.statistics.paired_tests import CORRECT, PairedTest, flip_signs, mcnemar
from trainyard.report.statistics.pairwise import SIGNIFICANT
from trainyard.report.statistics.seeds import Headline, headline

ALL = "all items"
BINOMIAL = "exact binomial test"


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
        answers: what these score on each item; none where there are none.
    """

    title: str
    score: str
    chance: float
    levels: list[str]
    models: list[Scored]
    shortcuts: list[Scored]
    answers: ShortcutScores | None = None


def gather(runs: Sequence[Run], evaluations: Sequence[Evaluation], shortcuts: Sequence[ShortcutScores]) -> list[Items]:
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


@dataclass(frozen=True)
class Comparison:
    """A model, and what is hardest to beat of chance and the shortcuts, on the same items.

    Attributes:
        rival: in words.
        test: of the model's share of right answers minus the rival's.
        untested: the shortcuts that the model could not be compared with, each with the reason.
    """

    rival: str
    test: PairedTest
    untested: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_won(self) -> bool:
        """Whether the model is better."""
        return self.test.difference > 0 and self.test.p < SIGNIFICANT


def compare_with_chance(value: Score, n: int, chance: float, level: float = LEVEL) -> PairedTest:
    """Test a share of `n` right answers against what guessing scores.

    The exact binomial test: its spread is that of guesses, for a model that is always wrong has none of its own.
    Wilson's interval of the share (1927, Journal of the American Statistical Association 22, 209-212), less chance.
    """
    found = stats.binomtest(round(value.value * n), n, chance)
    interval = found.proportion_ci(level, method="wilson")
    low, high = float(interval.low) - chance, float(interval.high) - chance
    return PairedTest(value.value - chance, low, high, float(found.pvalue), BINOMIAL, n)


def is_guessing(value: Score, n: int, chance: float) -> bool:
    """Whether a share of `n` right answers can't be told from guessing; of a single one nothing is said."""
    return n > 1 and compare_with_chance(value, n, chance).p >= SIGNIFICANT


def hardest_rival(model: Scored, items: Items, level: str, tests: int = 1) -> Comparison | None:
    """Which of chance and the shortcuts is hardest to beat on a level, corrected for so many tests; None of one item.

    It is the one with the most right answers, of those that can be tested. A model is better than it and all others by
    the largest p of them all, uncorrected (Berger 1982, Technometrics 24, 295-300); worse than one of them by its p
    times their number. A shortcut that guesses at every item is chance by another name.

    Args:
        model: one of the items' models.
        items: with the shortcuts and their answers.
        level: of the items.
        tests: how many of these are made: p and interval are those that hold for all at once (Bonferroni's inequality).
    """
    n, value = model.levels[level]
    if n < 2:
        return None
    confidence = simultaneous_level(tests)
    rivals, untested = {"chance": compare_with_chance(value, n, items.chance, confidence)}, {}
    for rival in items.shortcuts:
        if level in rival.levels and not _is_chance(rival.levels[level][1], items.chance):
            test = _compare_with_shortcut(model, items, level, rival.name, confidence)
            title = f"the shortcut “{rival.title}”"
            if isinstance(test, str):
                untested[title] = test
            else:
                rivals[title] = test
    name, hardest = min(rivals.items(), key=lambda rival: rival[1].difference)
    every = max(test.p for test in rivals.values())
    p = every if hardest.difference > 0 else min(1.0, len(rivals) * hardest.p)
    return Comparison(name, replace(hardest, p=p).correct(tests), untested)


def _is_chance(value: Score, chance: float) -> bool:
    return value.effective_error is None and math.isclose(value.value, chance)


def _compare_with_shortcut(
    model: Scored, items: Items, level: str, shortcut: str, confidence: float = LEVEL
) -> PairedTest | str:
    """Test a model's answers against the points of a shortcut on the same items; a text says why it can't be done."""
    if model.evaluation is None or items.answers is None:
        return "there are no answers to compare"
    ours, theirs = model.evaluation.items, items.answers.items
    if isinstance(ours, str) or isinstance(theirs, str):
        return ours if isinstance(ours, str) else str(theirs)
    if model.evaluation.raw["rows_sha256"] != items.answers.raw["rows_sha256"]:
        return "the files of rows differ"
    ours = ours.select_level("" if level == ALL else level)
    places = np.searchsorted(theirs.rows, ours.rows)
    if not np.array_equal(theirs.rows.take(places, mode="clip"), ours.rows):
        return "other rows were scored"
    correct, points = ours.columns[CORRECT[items.score]].astype(np.float64), theirs.columns[shortcut][places]
    if np.isin(points, (0.0, 1.0)).all():
        return mcnemar(correct, points, confidence)
    answers = ItemScores(ours.rows, {"model": correct, "shortcut": points})
    return flip_signs(answers, answers, "model", "shortcut", level=confidence)


def is_below_chance(model: Scored, items: Items, level: str) -> bool:
    """Whether a model does worse than guessing on a level, corrected for every model and level.

    Guessing would be right more often, so it follows a rule that answers such items wrongly.
    """
    n, value = model.levels.get(level, (0, Score(0.0)))
    if n < 2:
        return False
    test = compare_with_chance(value, n, items.chance)
    return test.difference < 0 and len(items.models) * len(items.levels) * test.p < SIGNIFICANT


def _items(group: Sequence[Evaluation], labels: Sequence[str], shortcuts: Sequence[ShortcutScores]) -> Items:
    first = group[0]
    metric = METRICS[first.metric]
    name = metric.told[0]
    own = next((each for each in shortcuts if each.raw["dataset"] == first.raw["dataset"]), None)
    baselines = own.raw["baselines"] if own else {}
    models = []
    for evaluation, title in zip(group, labels, strict=True):
        levels = {ALL: (evaluation.raw["n"], evaluation.scores[name])}
        levels |= {level: (part["n"], parse_score(part[name])) for level, part in evaluation.levels.items()}
        models.append(Scored(evaluation.run, title, levels, evaluation))
    rivals = []
    for rival, shortcut in baselines.items():
        n = own.raw["n"] if own else 0
        levels = {ALL: (n, parse_score(shortcut["accuracy"]))}
        levels |= {level: (value["n"], parse_score(value)) for level, value in shortcut["levels"].items()}
        rivals.append(Scored(rival, shortcut["title"], levels))
    known = [level for baseline in baselines.values() for level in baseline["levels"]]
    known += [level for model in models for level in model.levels if level != ALL]
    return Items(
        title=first.title,
        score=name,
        chance=own.raw["chance"]["value"] if own else metric.chance or 0.0,
        levels=[ALL, *(level for level in dict.fromkeys(known) if any(level in model.levels for model in models))],
        models=sorted(models, key=lambda model: -model.levels[ALL][1].value),
        shortcuts=rivals,
        answers=own,
    )
