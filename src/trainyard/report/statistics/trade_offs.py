"""What each recipe changes against the recipe `base` of the same seeds: cost, and quality with its tests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean
from typing import Literal

from trainyard.config.settings import ENERGY, Energy
from trainyard.config.study import BASE, Expectation
from trainyard.config.train import Train, rows_per_step
from trainyard.metrics import METRICS
from trainyard.report.results.runs import Evaluation, Run, distinguishing_coordinates, label
from trainyard.report.statistics.energy import compared_kwh
from trainyard.report.statistics.paired_tests import PairedTest, compare_paired, holm
from trainyard.report.statistics.pairwise import SIGNIFICANT
from trainyard.report.statistics.recipes import RecipeTest, compare_recipes
from trainyard.report.statistics.validation import compare_validation, compare_validation_of_recipes

VALIDATION = "validation_loss"
Cost = Literal["memory", "tokens", "speed", "hours", "energy"]
# By how much a cost must differ in every seed before it is said to. What was timed beside other jobs is noise below.
MARGINS: dict[Cost, float] = {"memory": 0.02, "tokens": 0.001, "speed": 0.1, "hours": 0.1, "energy": 0.1}
Direction = Literal["less", "more"]
Verdict = Literal["held", "contradicted", "not shown"]


@dataclass(frozen=True)
class Change:
    """One cost of a recipe over that of `base`.

    Attributes:
        ratio: the geometric mean over seeds.
        lowest: of one seed.
        highest: of one seed.
        margin: by how much each seed's must be away from 1 for a direction to be told.
    """

    ratio: float
    lowest: float
    highest: float
    margin: float

    @property
    def direction(self) -> Direction | None:
        """Which way every seed goes; None where they don't agree, or differ by less than the margin."""
        if self.highest < 1 - self.margin:
            return "less"
        return "more" if self.lowest > 1 + self.margin else None


@dataclass(frozen=True)
class Quality:
    """One score of a recipe minus that of `base`.

    Attributes:
        name: of the score, or the validation loss.
        title: on what.
        found: the test, or why there is none.
        p: its p-value after Holm's correction over the recipes.
    """

    name: str
    title: str
    found: PairedTest | RecipeTest | str
    p: float | None = None

    @property
    def direction(self) -> Direction | None:
        """Whether quality is more or less than that of `base`, at the level of 5 %; None where that is not shown."""
        if isinstance(self.found, str) or self.p is None or self.p >= SIGNIFICANT:
            return None
        is_better = (self.found.difference > 0) == higher_is_better(self.name)
        return "more" if is_better else "less"


@dataclass(frozen=True)
class TradeOff:
    """A recipe against `base`.

    Attributes:
        place: the other coordinates of both, where a study has several; empty where it has one.
        recipe: its name.
        seeds: that both were trained with.
        costs: those that both have.
        qualities: by validation loss, and by one score of each evaluation.
        expected: what the study says beforehand of its memory, speed and quality.
    """

    place: str
    recipe: str
    seeds: int
    costs: dict[Cost, Change]
    qualities: list[Quality]
    expected: dict[str, Direction]

    def judge(self, primary: str | None) -> dict[str, Verdict]:
        """What became of each expectation; that of quality is judged by the score that answers the question."""
        found: dict[str, Direction | None] = {name: change.direction for name, change in self.costs.items()}
        quality = self.quality(primary)
        found["quality"] = quality.direction if quality else None
        return {
            name: "not shown" if found.get(name) is None else "held" if found[name] == wanted else "contradicted"
            for name, wanted in self.expected.items()
        }

    def quality(self, primary: str | None) -> Quality | None:
        """The score that answers the question: of the metric `primary`, else of the first; the loss without scores."""
        scores = [each for each in self.qualities if each.name != VALIDATION]
        of_primary = [each for each in scores if primary is not None and each.name in METRICS[primary].tested]
        return next(iter([*of_primary, *scores, *self.qualities]), None)


def higher_is_better(name: str) -> bool:
    """Whether the higher one of two scores, or losses, is the better one."""
    return next((metric.higher_is_better for metric in METRICS.values() if name in metric.tested), False)


def weigh_recipes(
    runs: Sequence[Run],
    evaluations: Sequence[Evaluation],
    expected: dict[str, Expectation],
    energy: Energy = ENERGY,
) -> list[TradeOff]:
    """Every recipe against the `base` of the same dataset, model, parallel setting, processes and precision.

    Args:
        runs: of a study.
        evaluations: of these.
        expected: what the study says of recipes beforehand.
        energy: watts.
    """
    places: dict[tuple[str, ...], dict[str, dict[str, Run]]] = {}
    for run in runs:
        if run.finished:
            at = {name: value for name, value in run.coordinates.items() if name not in ("recipe", "seed")}
            by_recipe = places.setdefault(tuple(at.values()), {})
            by_recipe.setdefault(run.coordinates["recipe"], {})[run.coordinates["seed"]] = run
    compared = [by_recipe for by_recipe in places.values() if BASE in by_recipe and len(by_recipe) > 1]
    bases = [next(iter(by_recipe[BASE].values())) for by_recipe in compared]
    names = distinguishing_coordinates(bases, without="seed")
    results: list[TradeOff] = []
    for base, by_recipe in zip(bases, compared, strict=True):
        place = label(base, names) if names else ""
        results += _correct(
            [_weigh(place, by_recipe, name, evaluations, expected, energy) for name in by_recipe if name != BASE]
        )
    return [each for each in results if each.seeds]


def _weigh(
    place: str,
    by_recipe: dict[str, dict[str, Run]],
    name: str,
    evaluations: Sequence[Evaluation],
    expected: dict[str, Expectation],
    energy: Energy,
) -> TradeOff:
    seeds = [seed for seed in by_recipe[name] if seed in by_recipe[BASE]]
    ours, theirs = ([by_recipe[recipe][seed] for seed in seeds] for recipe in (name, BASE))
    changes: dict[Cost, Change | None] = {
        cost: _change(cost, [read(run) for run in ours], [read(run) for run in theirs]) for cost, read in _COSTS.items()
    }
    kwh = compared_kwh([*ours, *theirs], energy)
    changes["energy"] = _change("energy", kwh[: len(ours)], kwh[len(ours) :])
    costs: dict[Cost, Change] = {cost: change for cost, change in changes.items() if change}
    qualities = [*_of_validation(ours, theirs), *_of_evaluations(ours, theirs, evaluations)]
    wanted = {key: value for key, value in expected.get(name) or () if value is not None}
    return TradeOff(place, name, len(seeds), costs, qualities, wanted)


def _memory(run: Run) -> float | None:
    device = run.summary["peak_device_memory"]
    return run.summary["peak_host_memory"] if device is None else device


def _speed(run: Run) -> float | None:
    if run.summary["tokens_per_second"] is None:
        return None
    return rows_per_step(Train.model_validate(run.specification["train"])) / run.summary["step_seconds"]["median"]


_COSTS: dict[Cost, Callable[[Run], float | None]] = {
    "memory": _memory,
    "tokens": lambda run: run.summary["computed_tokens"] or run.summary["tokens"],
    "speed": _speed,
    "hours": lambda run: run.summary["elapsed_seconds"] * run.specification["processes"],
}


def _change(cost: Cost, ours: Sequence[float | None], theirs: Sequence[float | None]) -> Change | None:
    pairs = list(zip(ours, theirs, strict=True))
    ratios = [our / their for our, their in pairs if our and their]
    if not ratios or len(ratios) < len(pairs):
        return None
    return Change(geometric_mean(ratios), min(ratios), max(ratios), MARGINS[cost])


def _of_validation(ours: Sequence[Run], theirs: Sequence[Run]) -> list[Quality]:
    if not ours or any(run.summary["best"] is None for run in (*ours, *theirs)):
        return []
    found = (
        compare_validation(ours[0], theirs[0])
        if len(ours) == 1
        else compare_validation_of_recipes(ours, theirs, "best")
    )
    return [Quality(VALIDATION, "validation", found)]


def _of_evaluations(ours: Sequence[Run], theirs: Sequence[Run], evaluations: Sequence[Evaluation]) -> list[Quality]:
    """One score of each evaluation that every seed of both has, of the same checkpoint."""
    by_run = {(each.run, each.raw["evaluation"], each.checkpoint): each for each in evaluations}
    asked = dict.fromkeys(key[1:] for key in by_run if ours and key[0] == ours[0].name)
    several = len({checkpoint for _, checkpoint in asked}) > 1
    qualities = []
    for key in asked:
        sides = [[by_run.get((run.name, *key)) for run in side] for side in (ours, theirs)]
        first, second = ([each for each in side if each is not None and each.scores] for side in sides)
        metric = METRICS.get(first[0].metric) if first else None
        name = metric and next(
            (name for name in metric.tested if all(name in each.scores for each in (*first, *second))), None
        )
        if name is None or len(first) < len(ours) or len(second) < len(theirs):
            continue
        one = len(first) == 1
        found = compare_paired(first[0], second[0], name) if one else compare_recipes(first, second, name)
        title = f"{first[0].title}, {first[0].checkpoint}" if several else first[0].title
        qualities.append(Quality(name, title, found))
    return qualities


def _correct(trade_offs: list[TradeOff]) -> list[TradeOff]:
    """With p-values corrected over the recipes of one place for each score."""
    corrected: list[list[Quality]] = [list(each.qualities) for each in trade_offs]
    for key in dict.fromkeys((quality.name, quality.title) for each in corrected for quality in each):
        places = [
            (row, column, quality.found.p)
            for row, qualities in enumerate(corrected)
            for column, quality in enumerate(qualities)
            if (quality.name, quality.title) == key and not isinstance(quality.found, str)
        ]
        for (row, column, _), p in zip(places, holm([p for _, _, p in places]), strict=True):
            corrected[row][column] = replace(corrected[row][column], p=p)
    return [replace(each, qualities=qualities) for each, qualities in zip(trade_offs, corrected, strict=True)]
