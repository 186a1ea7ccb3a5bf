"""What tests say of the best of a group and of those behind it, in words."""

from collections.abc import Sequence

from trainyard.core.power import POWER
from trainyard.core.statistics import z_score
from trainyard.metrics import METRICS
from trainyard.report.pages.cells import spread_cell
from trainyard.report.render.format import TITLES, decimal, join_words, truncate
from trainyard.report.results.runs import Run, distinguishing_coordinates, label
from trainyard.report.statistics.paired_tests import PairedTest
from trainyard.report.statistics.pairwise import (
    BETTER,
    UNTESTED,
    WITHIN,
    Pair,
    compare_configurations,
    compare_models,
    compare_runs,
    describe_p_value,
    format_detectable,
    format_difference,
)
from trainyard.report.statistics.recipes import RecipeTest
from trainyard.report.statistics.seeds import group_configurations, summarise_seeds
from trainyard.report.statistics.study import Evidence, Ranking

NOISE = 2.0  # combined standard errors: less is called noise where there is no test


def describe_second(group: Ranking, name: str) -> str:
    """Whether the second of a group can be told from the best: by a paired test, or else by their standard errors."""
    pair = next(pair for pair in compare_models(group.evaluations, name) if (pair.first, pair.second) == (0, 1))
    if pair.verdict != UNTESTED:
        return f"{_place(pair, group.evaluations[0].metric)} ({_describe_tested(name, pair, 'best against second')})"
    errors = z_score(group.scores[0], group.scores[1])
    if errors is None:
        return "with no error to judge the difference by"
    if abs(errors) < NOISE:
        return f"within noise of it ({decimal(abs(errors), 1)} combined standard errors)"
    side = "below" if METRICS[group.evaluations[0].metric].higher_is_better else "above"
    return f"{decimal(abs(errors), 1)} combined standard errors {side}"


def describe_second_loss(runs: Sequence[Run]) -> str:
    """Whether the second of the runs, from the lowest validation loss to the highest, can be told from the first."""
    pair = next(pair for pair in compare_runs(runs) if (pair.first, pair.second) == (0, 1))
    if pair.verdict == UNTESTED:
        return f"not tested ({pair.found})"
    verdict = "within noise of it" if pair.verdict == WITHIN else "above it"
    return f"{verdict} ({_describe_tested('validation_loss', pair, 'lowest against second, row by row')})"


def describe_near_best(group: Ranking, name: str) -> list[str]:
    """Who else, besides the second, a paired test can't tell from the best."""
    return [
        group.labels[pair.second]
        for pair in compare_models(group.evaluations, name)
        if pair.first == 0 and pair.second > 1 and pair.verdict == WITHIN
    ]


def describe_seeds(evidence: Evidence, names: Sequence[str]) -> list[str]:
    """The best configuration by each of these figures, over two seeds or more, and whether the second differs."""
    sentences = []
    for figure in summarise_seeds(group_configurations(evidence.runs), evidence.evaluations):
        if figure.name not in names:
            continue
        title = TITLES[figure.name]
        cells = [spread_cell(figure.name, values) for values in figure.values]
        texts = [
            f"{configuration.label} {cell.text} {cell.detail} ({len(values)} seeds)"
            for configuration, cell, values in zip(figure.configurations, cells, figure.values, strict=True)
        ]
        title_text = f"{figure.title}, mean ± standard deviation of {title} over seeds"
        best, *others = figure.ranking
        if not others:
            sentences.append(f"{title_text}: {texts[best]}.")
            continue
        pair = next(pair for pair in compare_configurations(figure) if (pair.first, pair.second) == (best, others[0]))
        if isinstance(pair.found, RecipeTest):
            verdict = "better than" if pair.verdict == BETTER else "within noise of"
            text = f"{title_text}: best is {texts[best]}, {verdict} the second, {texts[others[0]]}"
            sentences.append(f"{text} ({_describe_tested(figure.name, pair, 'difference')}).")
            if found := format_detectable(figure.name, pair):
                items = f" on {pair.found.items:,} items" if pair.found.items else ""
                sentences.append(
                    f"With {min(pair.found.n)} seeds each{items} a difference of about {found} would be found with a "
                    f"power of {100 * POWER:.0f} %."
                )
        else:
            sentences.append(
                f"{title_text}: best is {texts[best]}, second {texts[others[0]]}; not tested ({pair.found})."
            )
    return sentences + _describe_left_out(evidence, sentences)


def _describe_left_out(evidence: Evidence, sentences: Sequence[str]) -> list[str]:
    """Which configurations what is said over seeds leaves out."""
    several = {run.name for found in group_configurations(evidence.runs) for run in found.runs}
    single = [run for run in evidence.runs if run.finished and run.name not in several]
    if not sentences or not single:
        return []
    names = distinguishing_coordinates([run for run in evidence.runs if run.finished], without="seed")
    labels = list(dict.fromkeys(label(run, names) for run in single))
    return [f"Left out, with one seed only: {truncate(join_words(labels), 200)}."]


def _place(pair: Pair, metric: str) -> str:
    if pair.verdict == WITHIN:
        return "within noise of it"
    return "below it" if METRICS[metric].higher_is_better else "above it"


def _describe_tested(name: str, pair: Pair, what: str) -> str:
    test = pair.found
    assert not isinstance(test, str)
    assert pair.p is not None
    value, interval = format_difference(name, test)
    holm = " by Holm" if pair.tests > 1 else ""
    text = f"{what}: {value}, 95 % interval {interval}, {describe_p_value(pair.p)}{holm}; {test.test}"
    if isinstance(test, PairedTest) and pair.verdict == WITHIN and (found := format_detectable(name, pair)):
        text += f", which finds about {found} with a power of {100 * POWER:.0f} %"
    return text


def describe_test(name: str, test: PairedTest) -> str:
    """A single test of two: difference, interval, p and what the test is."""
    value, interval = format_difference(name, test)
    return f"{value}, 95 % interval {interval}, {describe_p_value(test.p)}; {test.test}"
