"""Whether a search over recipes costs less than another one, and finds a better recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trainyard.metrics import METRICS
from trainyard.report.results.runs import Evaluation
from trainyard.report.results.searches import Search
from trainyard.report.statistics.paired_tests import PairedTest, compare_paired, holm
from trainyard.report.statistics.pairwise import SIGNIFICANT
from trainyard.report.statistics.validation import compare_validation

Verdict = Literal["held", "contradicted", "not shown"]
VALIDATION = "validation_loss"


@dataclass(frozen=True)
class Reached:
    """What two searches had spent when they first came to one loss.

    Attributes:
        loss: the worse of their best ones, which both came to, in nats.
        tokens: of the first and of the second search.
        hours: of devices, likewise.
    """

    loss: float
    tokens: tuple[float, float]
    hours: tuple[float, float]

    @property
    def verdict(self) -> Verdict:
        """Whether the first came there for less: by tokens and by hours alike."""
        less = [first < second for first, second in (self.tokens, self.hours)]
        more = [first > second for first, second in (self.tokens, self.hours)]
        return "held" if all(less) else "contradicted" if all(more) else "not shown"


@dataclass(frozen=True)
class Better:
    """The test of two winners.

    Attributes:
        score: by which score.
        title: on what.
        found: the test of the first minus the second, or why there is none.
        p: after Holm's correction over the comparisons of one search.
        higher: whether a higher score is better.
    """

    score: str
    title: str
    found: PairedTest | str
    p: float | None
    higher: bool

    @property
    def verdict(self) -> Verdict:
        """Whether the first is better at the level of 5 %."""
        if isinstance(self.found, str) or self.p is None or self.p >= SIGNIFICANT:
            return "not shown"
        return "held" if (self.found.difference > 0) == self.higher else "contradicted"


@dataclass(frozen=True)
class Comparison:
    """Two methods of one search: PBT, or the first method, against another."""

    first: Search
    second: Search
    reached: Reached | None
    better: Better


def compare_searches(
    searches: Sequence[Search], evaluations: Sequence[Evaluation], primary: str | None
) -> list[Comparison]:
    """PBT, or the first method where there is none, against every other method of the same entry.

    Args:
        searches: of a study.
        evaluations: of its runs.
        primary: the metric that answers the study's question.
    """
    groups: dict[str, list[Search]] = {}
    for search in searches:
        groups.setdefault(search.tune.name, []).append(search)
    comparisons = []
    for group in groups.values():
        first = next((search for search in group if search.method == "pbt"), group[0])
        others = [search for search in group if search is not first]
        tests = [_test(first, other, evaluations, primary) for other in others]
        corrected = iter(holm([each.found.p for each in tests if not isinstance(each.found, str)]))
        for other, test in zip(others, tests, strict=True):
            p = None if isinstance(test.found, str) else next(corrected)
            better = Better(test.score, test.title, test.found, p, test.higher)
            comparisons.append(Comparison(first, other, find_reached(first, other), better))
    return comparisons


def find_reached(first: Search, second: Search) -> Reached | None:
    """What each had spent when it first came to the worse of their best losses; None where one has no loss."""
    ends = [search.best_losses()[-1] for search in (first, second)]
    if any(end is None for end in ends):
        return None
    loss = max(end for end in ends if end is not None)
    at = [_first_at(search, loss) for search in (first, second)]
    tokens, hours = (
        [search.spent(what)[place] for search, place in zip((first, second), at, strict=True)]
        for what in ("tokens", "hours")
    )
    return Reached(loss, (tokens[0], tokens[1]), (hours[0], hours[1]))


def _first_at(search: Search, loss: float) -> int:
    return next(place for place, best in enumerate(search.best_losses()) if best is not None and best <= loss)


def _key(evaluation: Evaluation) -> tuple[str, str]:
    return evaluation.raw["evaluation"], evaluation.checkpoint


def _test(first: Search, second: Search, evaluations: Sequence[Evaluation], primary: str | None) -> Better:
    """The test of two winners by the score that answers the question; by validation rows where they have none."""
    winners = [first.winner, second.winner]
    runs = [run for run in winners if run is not None]
    if len(runs) < 2 or not all(run.finished for run in runs):
        return Better(VALIDATION, "validation", "one of them has no winner", None, higher=False)
    by_run = [{_key(each): each for each in evaluations if each.run == run.name} for run in runs]
    shared = [by_run[0][key] for key in by_run[0] if key in by_run[1]]
    order = [primary, *METRICS]
    for one in sorted(shared, key=lambda each: order.index(each.metric)):
        other, metric = by_run[1][_key(one)], METRICS[one.metric]
        name = next((name for name in metric.tested if name in one.scores and name in other.scores), None)
        if name is not None:
            return Better(name, one.title, compare_paired(one, other, name), None, metric.higher_is_better)
    found = compare_validation(runs[0], runs[1], validation="last")
    return Better(VALIDATION, f"{runs[0].coordinates['dataset']} validation", found, None, higher=False)
