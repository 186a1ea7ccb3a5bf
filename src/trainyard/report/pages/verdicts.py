"""What tests say of the best of a group and of those behind it, in words."""

from collections.abc import Sequence

from trainyard.core.statistics import difference
from trainyard.metrics import METRICS
from trainyard.report.pages.cells import spread_cell
from trainyard.report.render.format import TITLES, clip, fixed, listed
from trainyard.report.results.runs import label, telling
from trainyard.report.statistics.paired_tests import Paired
from trainyard.report.statistics.pairwise import (
    BETTER,
    UNTESTED,
    WITHIN,
    Pair,
    apart,
    name_of,
    pairs,
    pairs_over_seeds,
    probability,
)
from trainyard.report.statistics.seeds import Welch, configurations, repeated
from trainyard.report.statistics.study import Evidence, Ranked

NOISE = 2.0  # combined standard errors: less is called noise where there is no test


def of_second(group: Ranked, name: str) -> str:
    """Whether the second of a group can be told from the best: by a paired test, or else by their standard errors."""
    pair = next(pair for pair in pairs(group.evaluations, name) if (pair.first, pair.second) == (0, 1))
    if pair.verdict != UNTESTED:
        return f"{_place(pair, group.evaluations[0].metric)} ({_tested(name, pair, 'best against second')})"
    errors = difference(group.scores[0], group.scores[1])
    if errors is None:
        return "with no error to judge the difference by"
    if abs(errors) < NOISE:
        return f"within noise of it ({fixed(abs(errors), 1)} combined standard errors)"
    side = "below" if METRICS[group.evaluations[0].metric].higher_is_better else "above"
    return f"{fixed(abs(errors), 1)} combined standard errors {side}"


def near_best(group: Ranked, name: str) -> list[str]:
    """Who else, besides the second, a paired test can't tell from the best."""
    return [
        group.labels[pair.second]
        for pair in pairs(group.evaluations, name)
        if pair.first == 0 and pair.second > 1 and pair.verdict == WITHIN
    ]


def over_seeds(evidence: Evidence, names: Sequence[str]) -> list[str]:
    """The best configuration by each of these figures, over two seeds or more, and whether the second differs."""
    said = []
    for figure in repeated(configurations(evidence.runs), evidence.evaluations):
        if figure.name not in names:
            continue
        title = TITLES[figure.name].removesuffix(", %")
        cells = [spread_cell(figure.name, values) for values in figure.values]
        texts = [
            f"{configuration.label} {cell.text} {cell.detail} ({len(values)} seeds)"
            for configuration, cell, values in zip(figure.configurations, cells, figure.values, strict=True)
        ]
        place = f"{figure.title}, mean ± standard deviation of {title} over seeds"
        best, *others = figure.ranking
        if not others:
            said.append(f"{place}: {texts[best]}.")
            continue
        pair = next(pair for pair in pairs_over_seeds(figure) if (pair.first, pair.second) == (best, others[0]))
        if isinstance(pair.found, Welch):
            verdict = "better than" if pair.verdict == BETTER else "within noise of"
            text = f"{place}: best is {texts[best]}, {verdict} the second, {texts[others[0]]}"
            spreads = "overlap" if pair.found.overlap else "lie apart"
            said.append(f"{text}; their spreads {spreads} ({_tested(figure.name, pair, 'difference')}).")
        else:
            said.append(f"{place}: best is {texts[best]}, second {texts[others[0]]}; not tested ({pair.found}).")
    return said + _of_one_seed(evidence, said)


def _of_one_seed(evidence: Evidence, said: Sequence[str]) -> list[str]:
    """Which configurations what is said over seeds leaves out."""
    several = {run.name for found in configurations(evidence.runs) for run in found.runs}
    single = [run for run in evidence.runs if run.finished and run.name not in several]
    if not said or not single:
        return []
    names = telling([run for run in evidence.runs if run.finished], without="seed")
    labels = list(dict.fromkeys(label(run, names) for run in single))
    return [f"Left out, with one seed only: {clip(listed(labels), 200)}."]


def _place(pair: Pair, metric: str) -> str:
    if pair.verdict == WITHIN:
        return "within noise of it"
    return "below it" if METRICS[metric].higher_is_better else "above it"


def _tested(name: str, pair: Pair, what: str) -> str:
    found = pair.found
    assert not isinstance(found, str)
    assert pair.p is not None
    value, interval = apart(name, found)
    holm = " by Holm" if pair.tests > 1 else ""
    return f"{what}: {value}, 95 % interval {interval}, {probability(pair.p)}{holm}; {name_of(found)}"


def one_test(name: str, found: Paired) -> str:
    """A single test of two: difference, interval, p and what the test is."""
    value, interval = apart(name, found)
    return f"{value}, 95 % interval {interval}, {probability(found.p)}; {found.test}"
