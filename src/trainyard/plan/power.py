"""What differences a planned study can find: a sentence for each accuracy at the dry run.

Before a run nothing tells how far seeds lie apart, so that is assumed; and how often two models answer an item alike,
so items have the noise of answers that are independent, half of them right: the most that there is. A comparison of
models that agree on most items finds smaller differences, and the report tells which.
"""

import json
import math
from collections.abc import Sequence

from trainyard.core.power import FEWEST_SEEDS, POWER, find_detectable
from trainyard.metrics import METRICS
from trainyard.metrics.base import ScoreKind
from trainyard.plan.evaluations import Evaluation
from trainyard.plan.study import EvaluatedModel, StudyPlan

SEED_DEVIATION = 1.0  # points of accuracy: an assumption
ANSWERS = 0.5  # the variance of the difference of two independent answers, each right with a chance of one half


def describe_power(study: StudyPlan) -> list[str]:
    """A sentence for each accuracy by which a study compares two models or more: what difference it can find."""
    groups: dict[tuple[str, str], list[tuple[EvaluatedModel, Evaluation]]] = {}
    for model, each in study.by_evaluation.values():
        if model.file(study.name, each) in study.compared_files and _accuracy(each):
            groups.setdefault((each.name, model.checkpoint), []).append((model, each))
    sentences = [_describe(study, group) for group in groups.values()]
    return list(dict.fromkeys(text for text in sentences if text))


def estimate_detectable(seeds: Sequence[int], items: int | None, tests: int) -> float:
    """The points of accuracy that a comparison is to find with a power of 80 %, at 5 % by Holm over so many tests.

    Args:
        seeds: of the two that are compared; one each compares two models and not their recipes.
        items: that both answer; None leaves their noise out.
        tests: of the family.
    """
    parts = [(SEED_DEVIATION**2 / number, number - 1) for number in seeds if number > 1]
    if items:
        parts.append((100**2 * ANSWERS / items, items - 1))
    variance = sum(part for part, _ in parts)
    degrees = variance**2 / sum(part**2 / free for part, free in parts)
    return find_detectable(math.sqrt(variance), degrees, tests)


def _accuracy(evaluation: Evaluation) -> ScoreKind | None:
    """The first score that a sentence of the report states, if it is a share of right answers."""
    if evaluation.metric not in METRICS:
        return None
    metric = METRICS[evaluation.metric]
    return next((kind for kind in metric.scores if kind.key == metric.told[0] and kind.correct), None)


def _describe(study: StudyPlan, group: Sequence[tuple[EvaluatedModel, Evaluation]]) -> str:
    evaluation = group[0][1]
    items = _count_items(study, evaluation)
    several = sorted(number for number in _count_seeds(study, group) if number > 1)
    compared = len(several) if len(several) > 1 else len(group)
    if compared < 2 or (items is not None and items < 2) or (items is None and len(several) < 2):
        return ""
    seeds = several[:2] if len(several) > 1 else [1, 1]
    tests = compared * (compared - 1) // 2
    if 1 < seeds[0] < FEWEST_SEEDS:
        return (
            f"{study.name}: {seeds[0]} seeds are too few to say what differences of recipes this study can find on "
            f"{evaluation.dataset} {evaluation.split}: {FEWEST_SEEDS} would do"
        )
    found = estimate_detectable(seeds, items, tests)
    kind = _accuracy(evaluation)
    assert kind is not None
    numbers = f"{seeds[0]} seeds" if len(several) > 1 else "1 seed"
    of = f"{items:,} items" if items else f"the items of {evaluation.dataset}, whose number its entry doesn't tell,"
    what = "recipes" if len(several) > 1 else "trained models, and none of recipes,"
    noise = [f"seeds that lie {SEED_DEVIATION:g} point apart (standard deviation)"] if len(several) > 1 else []
    noise += ["items that models answer independently, half of them right"] if items else []
    family = f"over {tests} comparisons" if tests > 1 else "for 1 comparison"
    return (
        f"{study.name}: with {numbers} and {of} this study sees differences of {what} of {found:.1f} points or more "
        f"in {kind.title} on {evaluation.dataset} {evaluation.split} (power {100 * POWER:.0f} %, level 5 % {family}; "
        f"assumed: {' and '.join(noise)})"
    )


def _count_items(study: StudyPlan, evaluation: Evaluation) -> int | None:
    """How many items are scored; None where neither the study nor the dataset's entry tells."""
    dataset = study.catalogues.datasets[evaluation.dataset]
    counts = (evaluation.settings.get("limit"), dataset.count_rows(evaluation.split))
    return min((count for count in counts if count is not None), default=None)


def _count_seeds(study: StudyPlan, group: Sequence[tuple[EvaluatedModel, Evaluation]]) -> list[int]:
    """The number of seeds of each configuration: of runs whose specifications differ in nothing else."""
    configurations: dict[str, int] = {}
    for model, _ in group:
        at = study.runs[model.run].specification if model.run in study.runs else {"pretrained": model.run}
        key = json.dumps({name: value for name, value in at.items() if name not in ("run", "seed")}, sort_keys=True)
        configurations[key] = configurations.get(key, 0) + 1
    return list(configurations.values())
